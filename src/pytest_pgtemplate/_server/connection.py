"""Open an admin connection to a server."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._server import clocks
from pytest_pgtemplate._server.connection_errors import POOLER_ERRORS, pooler_error

CONNECT_TIMEOUT = 10.0  # seconds for one connection attempt
POOLER_PROBES = 10  # a busy pooler may give two clients different server sessions by chance
STARTUP_POLL = 0.1  # seconds between attempts while the server is starting up

# Settings that end a session or statement, and the version that brought each.
_TIME_LIMITS = {
    "statement_timeout": 0,
    "idle_in_transaction_session_timeout": 0,
    "idle_session_timeout": 14,
    "transaction_timeout": 17,
}

# Besides PostgresConnectionError, asyncpg raises these when a connection is lost or about to be.
CONNECTION_LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
Connection = Any  # asyncpg.Connection, which is generic in some releases only


async def connect(url: URL, *, timeout: float, application: str) -> Connection:
    """Connect to the database in ``url``; waits while the server is starting up.

    ``timeout``: seconds, also for locks. Raises ServerError if a pooler shares the session, and
    asyncpg's errors, OSError or TimeoutError, which ``explain`` turns into a ServerError.
    """
    connection = await _open(url, timeout, application)
    # They override ALTER ROLE .. SET. Not as startup parameters: poolers refuse those.
    settings = _session_settings(connection.get_server_version().major, timeout)
    try:
        # In BackendKeyData, a pooler sends a process id that is not the backend's.
        is_direct = f"pg_backend_pid() = {connection.get_server_pid()}"
        if await connection.execute(f"{settings} WHERE {is_direct}") != "SELECT 1":
            await _refuse_shared_session(connection, url, timeout)
            await connection.execute(settings)
    except POOLER_ERRORS as error:
        connection.terminate()
        raise pooler_error(url) from error
    except BaseException:
        connection.terminate()
        raise
    return connection


def _session_settings(major: int, timeout: float) -> str:
    """Return a query that sets what the plugin needs, and removes all time limits of the role."""
    values = {
        "lock_timeout": str(int(timeout * 1000)),
        "plan_cache_mode": "force_generic_plan",  # planning costs most
        **{name: "0" for name, since in _TIME_LIMITS.items() if major >= since},
    }
    calls = (f"set_config('{name}', '{value}', false)" for name, value in values.items())
    return f"SELECT {', '.join(calls)}"


async def _open(url: URL, timeout: float, application: str) -> Connection:
    deadline = clocks.monotonic() + timeout
    while True:
        try:
            return await asyncpg.connect(
                str(_urls.asyncpg_dsn(url)),
                timeout=min(CONNECT_TIMEOUT, timeout),
                server_settings={"application_name": application},
            )
        except asyncpg.CannotConnectNowError:
            if clocks.monotonic() > deadline:
                raise
            await asyncio.sleep(STARTUP_POLL)


async def _refuse_shared_session(connection: Connection, url: URL, timeout: float) -> None:
    """Raise ServerError if the pooler is in transaction mode: two clients share a backend."""
    pid = await _backend_pid(connection)
    other = await _open(url, timeout, "pytest-pgtemplate")
    try:
        for _ in range(POOLER_PROBES):
            if await _backend_pid(other) == pid:
                raise pooler_error(url)
            async with other.transaction():  # pins its backend, so the pooler must use another
                if await _backend_pid(connection) != pid:
                    raise pooler_error(url)
    finally:
        other.terminate()


async def _backend_pid(connection: Connection) -> int:
    pid: int = await connection.fetchval("SELECT pg_backend_pid()")
    return pid
