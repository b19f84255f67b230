"""Open an admin connection to a server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._server.connection_errors import pooler_error

CONNECT_TIMEOUT = 10.0  # seconds for one connection attempt
POOLER_PROBES = 10  # at a pooler that others use, too: by chance it may lend each of us its own
STARTUP_POLL = 0.1  # seconds between attempts while the server says that it is starting up

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
                raise pooler_error(url)
            async with other.transaction():  # keeps what it was lent
                if await _pid_of(connection) != pid:
                    raise pooler_error(url)
    finally:
        other.terminate()


async def _pid_of(connection: Connection) -> int:
    pid: int = await connection.fetchval("SELECT pg_backend_pid()")
    return pid
