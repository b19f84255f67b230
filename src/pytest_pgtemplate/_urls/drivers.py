"""Parse server URLs into SQLAlchemy ``URL`` (its ``repr`` hides the password); translate them.

In ``pg_url``, TLS and ``options`` are always libpq parameters. This module translates them into
the parameters of each driver.
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

URL_SPELLING = (
    "write it as postgresql+asyncpg://user:password@host:5432/postgres, and the character @ in a"
    " password as %40"
)
ASYNC_DRIVERS = ("asyncpg", "psycopg")
SYNC_DRIVERS = ("psycopg", "psycopg2", "pg8000")

# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
LIBPQ = frozenset(
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
    """A URL string whose ``repr`` hides the password, in tracebacks and log records."""

    __slots__ = ()

    def __repr__(self) -> str:
        from sqlalchemy.engine import make_url

        return repr(make_url(str(self)).render_as_string())


def parse(text: str) -> URL:
    """Parse a ``postgresql[+driver]://`` URL.

    Raises ConfigurationError. The message never shows the text: it may contain a password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    is_postgresql = url is not None and url.get_backend_name() in {"postgresql", "postgres"}
    if url is None or not is_postgresql or "@" in (url.host or ""):
        raise ConfigurationError("pg_url is not a PostgreSQL URL", hint=URL_SPELLING)
    _, _, driver = url.drivername.partition("+")
    return normalize_for_driver(
        url.set(drivername=f"postgresql+{driver}" if driver else "postgresql")
    )


def normalize_for_driver(url: AnyURL) -> AnyURL:
    """Translate libpq parameters for asyncpg: SQLAlchemy's dialect rejects ``sslmode``."""
    return for_driver(url, "asyncpg") if driver_name(url) == "asyncpg" else url


def driver_name(url: URL | Address) -> str | None:
    """Return the driver in the URL, or None for a bare ``postgresql://``."""
    return url.drivername.partition("+")[2] or None


def render(url: URL) -> str:
    """Return the URL as a string, with its password."""
    base, mark, query = url.render_as_string(hide_password=False).partition("?")
    # libpq decodes %20, but not "+".
    return SecretStr(base.replace(" ", "%20") + mark + query.replace("+", "%20"))


def dsn_without_passwords(url: URL) -> str:
    """Render a libpq URI that may appear in a list of processes or in a report."""
    url = for_driver(url, None).difference_update_query(["sslpassword"])
    return render(url._replace(password=None))  # URL.set(password=None) changes nothing


def dsn(url: URL) -> str:
    """Render a libpq URI for psql, psycopg and pg_dump."""
    return render(for_driver(url, None))


def asyncpg_dsn(url: URL) -> str:
    """Render a URI for ``asyncpg.connect``, which would send unknown parameters to the server."""
    url = for_driver(url, None)
    return render(url.difference_update_query(url.query.keys() - _ASYNCPG))


def for_driver(url: AnyURL, driver: str | None) -> AnyURL:
    """Translate sockets, TLS and options in ``url`` for another driver (None: libpq)."""
    if driver == driver_name(url) and driver in {"psycopg", "psycopg2"}:
        return url
    query = libpq_query(url)
    if driver == "asyncpg":
        query = _asyncpg_query(query)
        if driver_name(url) == "asyncpg":
            query |= {key: url.query[key] for key in url.query.keys() - LIBPQ - {"ssl", "dsn"}}
    elif driver == "pg8000":
        query = _pg8000_query(query)
    return url.set(drivername=f"postgresql+{driver}" if driver else "postgresql", query=query)


def libpq_query(url: URL | Address) -> Query:
    """Return the query in libpq's parameters: the inverse of the two functions below."""
    query: Query = {key: value for key, value in url.query.items() if key in LIBPQ}
    if "ssl" in url.query:
        query["sslmode"] = url.query["ssl"]
    if "dsn" in url.query:
        query |= parse_qsl(str(url.query["dsn"]).partition("?")[2])
    if "unix_sock" in url.query:
        query["host"], _, socket = str(url.query["unix_sock"]).rpartition("/")
        query["port"] = socket.rpartition(".")[2]
    return query


def _asyncpg_query(query: Query) -> Query:
    # SQLAlchemy passes each parameter to asyncpg.connect() as a keyword, and few libpq parameters
    # exist as keywords. Its ``dsn`` keyword accepts the others.
    kept = {key: query[key] for key in ("host", "port") if key in query}
    rest = {key: query[key] for key in query.keys() & _ASYNCPG - kept.keys()}
    if rest.keys() <= {"sslmode"}:
        return kept | ({"ssl": rest["sslmode"]} if rest else {})
    return kept | {"dsn": f"postgresql://?{urlencode(sorted(rest.items()), quote_via=quote)}"}


def _pg8000_query(query: Query) -> Query:
    host = query.get("host")
    if isinstance(host, str) and host.startswith("/"):
        return {"unix_sock": f"{host}/.s.PGSQL.{query.get('port', 5432)}"}
    return {}


def connect_args(url: URL, driver: str | None) -> dict[str, Any]:
    """Return the ``connect_args`` of an engine: pg8000 reads TLS and options from no URL."""
    if driver != "pg8000":
        return {}
    query = {key: str(value) for key, value in libpq_query(url).items()}
    arguments: dict[str, Any] = {}
    if query.get("sslmode") == "disable":
        arguments["ssl_context"] = False
    elif query.get("sslmode") in {"require", "verify-ca", "verify-full"}:
        arguments["ssl_context"] = _ssl_context(query)
    if "options" in query:
        arguments["startup_params"] = {"options": query["options"]}
    return arguments


def _ssl_context(query: dict[str, str]) -> SSLContext:
    """Return the context that libpq would use for these parameters."""
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
    """Return the URL for an AsyncEngine: the configured driver if it is async, else asyncpg."""
    driver = driver_name(url)
    return for_driver(url, driver if driver in ASYNC_DRIVERS else "asyncpg")


def sync_url(url: URL) -> URL:
    """Return the URL for an Engine: the configured driver if it is sync, else an installed one.

    Raises ConfigurationError if no sync driver is installed.
    """
    driver = driver_name(url)
    if driver in SYNC_DRIVERS:
        return for_driver(url, driver)
    for installed in installed_sync_drivers():
        return for_driver(url, installed)
    raise ConfigurationError(
        "no sync PostgreSQL driver is installed; the plugin looked for " + ", ".join(SYNC_DRIVERS),
        hint="pip install 'psycopg[binary]', or use the async fixtures",
    )


def installed_sync_drivers() -> list[str]:
    return [driver for driver in SYNC_DRIVERS if find_spec(driver) is not None]
