"""Open an admin connection, and say in plain words why that did not work."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate.errors import ServerError

CONNECT_TIMEOUT = 10.0  # seconds for one connection attempt
POOLER_PROBES = 10  # at a pooler that others use, too: by chance it may lend each of us its own
STARTUP_POLL = 0.1  # seconds between attempts while the server says that it is starting up

_HINTS = {
    asyncpg.DiskFullError: "make room there: every worker's database takes as much of it as the"
    " template, or run fewer workers (pytest -n)",
    asyncpg.OutOfMemoryError: "raise max_locks_per_transaction on the server: a lock for each table"
    " and index of the template has to fit, or there is too little memory",
}

# How asyncpg says that a connection is gone, or about to go, next to its PostgresConnectionError.
CONNECTION_LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
Connection = Any  # asyncpg.Connection, which is generic in some releases only


async def connect(url: URL, *, timeout: float, application: str) -> Connection:
    """Connect to the database that ``url`` names; waits for a server that is starting up.

    Raises ServerError, if a pooler would not leave us the session, and asyncpg's errors, OSError or
    TimeoutError: ``explain`` turns them into a ServerError.
    """
    connection = await _open(url, timeout, application)
    settings = (  # whatever ALTER ROLE .. SET says; not at the start, for poolers refuse them
        f"SELECT set_config('lock_timeout', '{int(timeout * 1000)}', false),"
        " set_config('statement_timeout', '0', false),"
        " set_config('plan_cache_mode', 'force_generic_plan', false)"  # planning costs most
    )
    try:
        # A pooler tells another process id than the server does.
        ours = f"pg_backend_pid() = {connection.get_server_pid()}"
        if await connection.execute(f"{settings} WHERE {ours}") != "SELECT 1":
            await _refuse_shared_session(connection, url, timeout)
            await connection.execute(settings)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _open(url: URL, timeout: float, application: str) -> Connection:
    deadline = time.monotonic() + timeout
    while True:
        try:
            return await asyncpg.connect(
                str(_urls.asyncpg_dsn(url)),
                timeout=min(CONNECT_TIMEOUT, timeout),
                server_settings={"application_name": application},
            )
        except asyncpg.CannotConnectNowError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(STARTUP_POLL)


async def _refuse_shared_session(connection: Connection, url: URL, timeout: float) -> None:
    """One more session tells whether a pooler lends ours to others, too."""
    pid = await _pid_of(connection)
    other = await _open(url, timeout, "pytest-pgtemplate")
    try:
        for _ in range(POOLER_PROBES):
            if await _pid_of(other) == pid:
                raise _pooled(url)
            async with other.transaction():  # keeps what it was lent
                if await _pid_of(connection) != pid:
                    raise _pooled(url)
    finally:
        other.terminate()


async def _pid_of(connection: Connection) -> int:
    pid: int = await connection.fetchval("SELECT pg_backend_pid()")
    return pid


def _pooled(url: URL) -> ServerError:
    return ServerError(
        f"the pooler at {server_place(url)} lends a session of the server to one transaction after"
        " the other, and ours must be our own: an advisory lock says which database is in use",
        hint="name the server itself in pg_url, or a pooler in session mode (PgBouncer: pool_mode ="
        " session)",
    )


def server_place(url: URL) -> str:
    """Name a server for people: host and port or socket, never a password."""
    host = url.host or url.query.get("host") or "the default socket"
    port = url.port or url.query.get("port") or 5432
    return f"{host}:{port}"


def _unreadable_tls_file(url: URL) -> str:
    """A file that a connection with TLS takes, and that is not there."""
    query = _urls.for_driver(url, None).query
    files = [str(query[name]) for name in ("sslrootcert", "sslcert", "sslkey") if name in query]
    if query.get("sslmode") in ("verify-ca", "verify-full") and "sslrootcert" not in query:
        files.append(str(Path.home() / ".postgresql/root.crt"))  # libpq's default
    return next((file for file in files if not os.access(file, os.R_OK)), "")


def explain(error: BaseException, url: URL) -> ServerError:  # noqa: C901, PLR0912 - one table
    """Say what ``error`` means at the server of ``url``, and what to do next."""
    place = server_place(url)
    match error:
        case asyncpg.InvalidPasswordError():
            return ServerError(
                f'the server at {place} refused the password of role "{url.username}"',
                hint="correct the password in pg_url (or PGTEMPLATE_URL, or ~/.pgpass)",
            )
        case asyncpg.InvalidAuthorizationSpecificationError():
            return ServerError(
                f'the server at {place} refused role "{url.username}": {error}',
                hint="check the role in pg_url, and the server's pg_hba.conf",
            )
        case asyncpg.InvalidCatalogNameError():
            return ServerError(
                f"the server at {place} has neither a database postgres nor the one in pg_url:"
                f" {error}",
                hint="name a database in pg_url that exists; it is only connected to",
            )
        case asyncpg.TooManyConnectionsError():
            return ServerError(
                f"the server at {place} has no connection left: {error}",
                hint="raise max_connections, or run fewer workers (pytest -n)",
            )
        case asyncpg.InsufficientPrivilegeError():
            return ServerError(
                f'role "{url.username}" may not do this at {place}: {error}',
                hint="grant what is missing, or name another role in pg_url",
            )
        case asyncpg.LockNotAvailableError():
            return ServerError(
                f"waited longer than pg_timeout for a lock at {place}",
                hint="another run is still building; raise pg_timeout if that is expected",
            )
        case asyncpg.InvalidSQLStatementNameError():  # what we have just prepared is not there
            return _pooled(url)
        case asyncpg.ProtocolViolationError():
            return ServerError(
                f"the server at {place} refused the connection: {error}",
                hint="if it is PgBouncer: list what pg_url sets in its ignore_startup_parameters,"
                " and let its [databases] have an entry * for those that are made here",
            )
        case asyncpg.PostgresError():
            return ServerError(
                f"the server at {place} answered {error.sqlstate}: {error.args[0]}",
                hint=_HINTS.get(type(error)) or error.hint or "the server's log says more",
            )
        case TimeoutError():
            return ServerError(
                f"the server at {place} did not answer in time",
                hint="check host and port in pg_url, or raise pg_timeout",
            )
        case ssl.SSLError():
            return ServerError(
                f"no TLS with the server at {place}: {error}",
                hint="check sslmode, sslrootcert, sslcert, sslkey and the host's name in pg_url",
            )
        case ValueError() | OSError() if file := _unreadable_tls_file(url):
            return ServerError(
                f"{file} cannot be read, which TLS with the server at {place} takes",
                hint="let sslrootcert (and sslcert, sslkey) in pg_url name files on this machine",
            )
        case ValueError():  # a URL that SQLAlchemy can read; its text may hold the password
            return ServerError(
                f"the URL of the server at {place} cannot be used",
                hint="write pg_url as postgresql+asyncpg://user:password@host:5432/postgres",
            )
        case OSError() | asyncpg.InterfaceError():
            return ServerError(
                f"cannot connect to the server at {place}: {error}",
                hint="is it running? check host and port in pg_url; without pg_url the embedded"
                " server is used",
            )
    raise error
