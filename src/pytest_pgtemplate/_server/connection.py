"""Open an admin connection, and say in plain words why that did not work."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate.errors import ServerError

ATTEMPT = 10.0  # seconds for one connection attempt
STARTING = 0.1  # seconds between attempts while the server says that it is starting up

_HINTS = {
    asyncpg.DiskFullError: "make room there: every worker's database takes as much of it as the"
    " template, or run fewer workers (pytest -n)",
    asyncpg.OutOfMemoryError: "raise max_locks_per_transaction on the server: a lock for each table"
    " and index of the template has to fit, or there is too little memory",
}

Connection = Any  # asyncpg.Connection, which is generic in some releases only


async def connect(url: URL, *, timeout: float, application: str) -> Connection:
    """Connect to the database that ``url`` names; waits for a server that is starting up.

    Raises asyncpg's errors, OSError or TimeoutError: ``explain`` turns them into a ServerError.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return await asyncpg.connect(
                str(_urls.asyncpg_dsn(url)),
                timeout=min(ATTEMPT, timeout),
                statement_cache_size=0,  # a re-cloned database knows none of the old statements
                server_settings={
                    "application_name": application,
                    "lock_timeout": str(int(timeout * 1000)),
                    "statement_timeout": "0",  # whatever ALTER ROLE .. SET says
                },
            )
        except asyncpg.CannotConnectNowError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(STARTING)


def where(url: URL) -> str:
    """Name a server for people: host and port or socket, never a password."""
    host = url.host or url.query.get("host") or "the default socket"
    port = url.port or url.query.get("port") or 5432
    return f"{host}:{port}"


def explain(error: BaseException, url: URL) -> ServerError:  # noqa: C901 - one table
    """Say what ``error`` means at the server of ``url``, and what to do next."""
    place = where(url)
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
