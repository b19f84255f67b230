"""Server URLs: read once, then carried as SQLAlchemy ``URL`` (its ``repr`` hides the password)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from pytest_pgtemplate.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from pytest_pgtemplate._address import Address

    AnyURL = TypeVar("AnyURL", URL, Address)

ASYNC_DRIVERS = ("asyncpg", "psycopg")
SYNC_DRIVERS = ("psycopg", "psycopg2", "pg8000")

# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_LIBPQ = frozenset(
    """
    application_name channel_binding client_encoding connect_timeout gssencmode host hostaddr
    keepalives keepalives_count keepalives_idle keepalives_interval krbsrvname options passfile
    port require_auth service sslcert sslcrl sslkey sslmode sslpassword sslrootcert
    target_session_attrs tcp_user_timeout
    """.split()  # noqa: SIM905 - readable
)


_ASYNCPG = frozenset(
    """
    application_name client_encoding host krbsrvname options passfile port service sslcert sslcrl
    sslkey sslmode sslpassword sslrootcert target_session_attrs
    """.split()  # noqa: SIM905 - readable
)


class SecretStr(str):
    """A URL string that works everywhere and shows no password in a traceback or log record."""

    __slots__ = ()

    def __repr__(self) -> str:
        from sqlalchemy.engine import make_url

        return repr(make_url(str(self)).render_as_string())


def parse(text: str) -> URL:
    """Read a ``postgresql[+driver]://`` URL.

    Raises ConfigurationError; the text itself is never shown, as it may hold a password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.get_backend_name() not in {"postgresql", "postgres"}:
        raise ConfigurationError(
            "pg_url is not a PostgreSQL URL",
            hint="write it as postgresql+asyncpg://user:password@host:5432/postgres",
        )
    _, _, driver = url.drivername.partition("+")
    return url.set(drivername=f"postgresql+{driver}" if driver else "postgresql")


def driver_of(url: URL | Address) -> str | None:
    """Return the driver that the URL names, None for a bare ``postgresql://``."""
    return url.drivername.partition("+")[2] or None


def render(url: URL) -> str:
    text = url.render_as_string(hide_password=False)
    return SecretStr(text.replace(" ", "%20"))  # libpq of 18 takes no other spelling


def dsn(url: URL) -> str:
    """Render a plain libpq URI, as psql, psycopg and pg_dump read it."""
    return render(for_driver(url, None))


def asyncpg_dsn(url: URL) -> str:
    """Render a URI for ``asyncpg.connect``, which sends parameters unknown to it to the server."""
    url = for_driver(url, None)
    return render(url.difference_update_query(url.query.keys() - _ASYNCPG))


def for_driver(url: AnyURL, driver: str | None) -> AnyURL:
    """Translate ``url`` for another driver (None: libpq): each spells sockets and TLS its way."""
    if driver == driver_of(url) and driver not in {None, "pg8000"}:  # which knows no host=/path
        return url
    query = {key: value for key, value in url.query.items() if key in _LIBPQ}
    if "ssl" in url.query:
        query["sslmode"] = url.query["ssl"]
    if "unix_sock" in url.query:
        query["host"] = str(url.query["unix_sock"]).rpartition("/")[0]
    if driver == "asyncpg":
        query = _for_asyncpg(query)
    elif driver == "pg8000":
        query = _for_pg8000(query)
    return url.set(drivername=f"postgresql+{driver}" if driver else "postgresql", query=query)


def _for_asyncpg(query: dict[str, str | tuple[str, ...]]) -> dict[str, str | tuple[str, ...]]:
    kept = {key: query[key] for key in ("host", "port") if key in query}
    return kept | ({"ssl": query["sslmode"]} if "sslmode" in query else {})


def _for_pg8000(query: dict[str, str | tuple[str, ...]]) -> dict[str, str | tuple[str, ...]]:
    host = query.get("host")
    if isinstance(host, str) and host.startswith("/"):
        return {"unix_sock": f"{host}/.s.PGSQL.{query.get('port', 5432)}"}
    return {}


def async_url(url: URL) -> URL:
    """The URL for an AsyncEngine: the configured driver when it is async, else asyncpg."""
    driver = driver_of(url)
    return for_driver(url, driver if driver in ASYNC_DRIVERS else "asyncpg")


def sync_url(url: URL) -> URL:
    """The URL for an Engine: the configured driver when it is sync, else the first one installed.

    Raises ConfigurationError when no sync driver is installed.
    """
    driver = driver_of(url)
    if driver in SYNC_DRIVERS:
        return for_driver(url, driver)
    for candidate in SYNC_DRIVERS:
        if find_spec(candidate) is not None:
            return for_driver(url, candidate)
    raise ConfigurationError(
        "no sync PostgreSQL driver is installed: looked for " + ", ".join(SYNC_DRIVERS),
        hint="pip install 'psycopg[binary]', or use the async fixtures",
    )
