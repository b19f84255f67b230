"""Server URLs: read once, then carried as SQLAlchemy ``URL`` (its ``repr`` hides the password).

TLS and ``options`` are written in them as libpq has them, whatever the driver, and passed on in the
way that each driver takes.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

from pytest_pgtemplate.errors import ConfigurationError

if TYPE_CHECKING:
    from ssl import SSLContext

    from sqlalchemy.engine import URL

    from pytest_pgtemplate._urls.server_address import Address, Query

    AnyURL = TypeVar("AnyURL", URL, Address)

ASYNC_DRIVERS = ("asyncpg", "psycopg")
SYNC_DRIVERS = ("psycopg", "psycopg2", "pg8000")

# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_LIBPQ = frozenset(
    """
    application_name channel_binding client_encoding connect_timeout gssencmode host hostaddr
    keepalives keepalives_count keepalives_idle keepalives_interval krbsrvname options passfile
    port require_auth service ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode
    sslcrl sslcrldir sslkey sslmode sslnegotiation sslpassword sslrootcert sslsni
    target_session_attrs tcp_user_timeout
    """.split()  # noqa: SIM905 - readable
)


_ASYNCPG = frozenset(
    """
    application_name client_encoding host krbsrvname options passfile port service
    ssl_max_protocol_version ssl_min_protocol_version sslcert sslcrl sslkey sslmode sslpassword
    sslrootcert target_session_attrs
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
    return normalize_for_driver(
        url.set(drivername=f"postgresql+{driver}" if driver else "postgresql")
    )


def normalize_for_driver(url: AnyURL) -> AnyURL:
    """SQLAlchemy knows no ``sslmode`` of asyncpg, nor any other parameter of libpq."""
    return for_driver(url, "asyncpg") if driver_name(url) == "asyncpg" else url


def driver_name(url: URL | Address) -> str | None:
    """Return the driver that the URL names, None for a bare ``postgresql://``."""
    return url.drivername.partition("+")[2] or None


def render(url: URL) -> str:
    base, mark, query = url.render_as_string(hide_password=False).partition("?")
    # libpq knows no other spelling of a space.
    return SecretStr(base.replace(" ", "%20") + mark + query.replace("+", "%20"))


def without_password(url: URL) -> URL:
    """What may be seen in a list of processes. ``URL.set(password=None)`` changes nothing."""
    return url._replace(password=None)


def dsn(url: URL) -> str:
    """Render a plain libpq URI, as psql, psycopg and pg_dump read it."""
    return render(for_driver(url, None))


def asyncpg_dsn(url: URL) -> str:
    """Render a URI for ``asyncpg.connect``, which sends parameters unknown to it to the server."""
    url = for_driver(url, None)
    return render(url.difference_update_query(url.query.keys() - _ASYNCPG))


def for_driver(url: AnyURL, driver: str | None) -> AnyURL:
    """Translate ``url`` for another driver (None: libpq): each spells sockets and TLS its way."""
    if driver == driver_name(url) and driver in {"psycopg", "psycopg2"}:
        return url
    query = _as_libpq(url)
    if driver == "asyncpg":
        query = _for_asyncpg(query)
        if driver_name(url) == "asyncpg":
            query |= {key: url.query[key] for key in url.query.keys() - _LIBPQ - {"ssl", "dsn"}}
    elif driver == "pg8000":
        query = _for_pg8000(query)
    return url.set(drivername=f"postgresql+{driver}" if driver else "postgresql", query=query)


def _as_libpq(url: URL | Address) -> Query:
    query: Query = {key: value for key, value in url.query.items() if key in _LIBPQ}
    if "ssl" in url.query:
        query["sslmode"] = url.query["ssl"]
    if "dsn" in url.query:
        query |= parse_qsl(str(url.query["dsn"]).partition("?")[2])
    if "unix_sock" in url.query:
        query["host"], _, socket = str(url.query["unix_sock"]).rpartition("/")
        query["port"] = socket.rpartition(".")[2]
    return query


def _for_asyncpg(query: Query) -> Query:
    """SQLAlchemy passes each on as an argument; ``dsn`` is the one in which the others fit."""
    kept = {key: query[key] for key in ("host", "port") if key in query}
    rest = {key: query[key] for key in query.keys() & _ASYNCPG - kept.keys()}
    if rest.keys() <= {"sslmode"}:
        return kept | ({"ssl": rest["sslmode"]} if rest else {})
    return kept | {"dsn": f"postgresql://?{urlencode(sorted(rest.items()), quote_via=quote)}"}


def _for_pg8000(query: Query) -> Query:
    host = query.get("host")
    if isinstance(host, str) and host.startswith("/"):
        return {"unix_sock": f"{host}/.s.PGSQL.{query.get('port', 5432)}"}
    return {}


def connect_args(url: URL, driver: str | None) -> dict[str, Any]:
    """What an engine has to give its driver beside the URL: pg8000's cannot say it."""
    if driver != "pg8000":
        return {}
    query = {key: str(value) for key, value in _as_libpq(url).items()}
    given: dict[str, Any] = {}
    if query.get("sslmode") == "disable":
        given["ssl_context"] = False
    elif query.get("sslmode") in {"require", "verify-ca", "verify-full"}:
        given["ssl_context"] = _ssl_context(query)
    if "options" in query:
        given["startup_params"] = {"options": query["options"]}
    return given


def _ssl_context(query: dict[str, str]) -> SSLContext:
    """As libpq reads its parameters."""
    import ssl

    root = query.get("sslrootcert")
    context = ssl.create_default_context(cafile=root)
    context.check_hostname = query["sslmode"] == "verify-full"
    if query["sslmode"] == "require" and not root:
        context.verify_mode = ssl.CERT_NONE
    if "sslcrl" in query:
        context.load_verify_locations(query["sslcrl"])
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    if "sslcert" in query:
        context.load_cert_chain(query["sslcert"], query.get("sslkey"), query.get("sslpassword"))
    return context


def async_url(url: URL) -> URL:
    """The URL for an AsyncEngine: the configured driver when it is async, else asyncpg."""
    driver = driver_name(url)
    return for_driver(url, driver if driver in ASYNC_DRIVERS else "asyncpg")


def sync_url(url: URL) -> URL:
    """The URL for an Engine: the configured driver when it is sync, else the first one installed.

    Raises ConfigurationError when no sync driver is installed.
    """
    driver = driver_name(url)
    if driver in SYNC_DRIVERS:
        return for_driver(url, driver)
    for candidate in SYNC_DRIVERS:
        if find_spec(candidate) is not None:
            return for_driver(url, candidate)
    raise ConfigurationError(
        "no sync PostgreSQL driver is installed: looked for " + ", ".join(SYNC_DRIVERS),
        hint="pip install 'psycopg[binary]', or use the async fixtures",
    )
