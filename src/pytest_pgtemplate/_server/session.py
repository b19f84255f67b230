"""The admin session of a process on a server. It reconnects and takes its leases again.

All processes connect to the same maintenance database (``postgres`` if possible), because the scope
of an advisory lock is the database of its session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate._internals.asyncpg import disconnect_in_fork
from pytest_pgtemplate._server import clocks, forks, portal
from pytest_pgtemplate._server.connection import CONNECTION_LOST, Connection, connect
from pytest_pgtemplate._server.connection_errors import (
    POOLER_ERRORS,
    explain,
    pooler_error,
    server_place,
)
from pytest_pgtemplate._server.quoting import quote_literal
from pytest_pgtemplate.errors import ServerError

LOCK_SEED = 0x7067746D706C  # keeps the plugin's advisory locks apart from those of applications
CLOSE_TIMEOUT = 5.0  # seconds
RETRY_INTERVAL = 0.05  # seconds between attempts to reconnect

T = TypeVar("T")


class Session:
    """One admin connection. Every method takes at most ``timeout`` seconds; raises ServerError."""

    def __init__(self, url: URL, *, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()  # asyncpg runs one statement at a time
        self._reclaiming: asyncio.Task[None] | None = None  # a reference keeps the task alive
        self._leases: set[str] = set()
        self._lost_leases: set[str] = set()  # not yet taken again by the new connection
        self._locked = False
        forks.register(self)

    def after_fork(self) -> None:
        """In a forked child: the connection and its leases stay with the parent."""
        if self._connection is not None:
            disconnect_in_fork(self._connection)
        self._connection = None
        self._lock = asyncio.Lock()
        self._leases, self._lost_leases = set(), set()

    def execute(self, statement: str) -> None:
        self._run(lambda connection: connection.execute(statement))

    def fetch(self, query: str, *arguments: object) -> list[Any]:
        rows: list[Any] = self._run(lambda connection: connection.fetch(query, *arguments))
        return rows

    def call_advisory_lock(self, function: str, name: str) -> Any:
        """Call an advisory lock function for ``name``, and return its result."""
        return self.fetch(f"SELECT {_lock_call(function, name)}")[0][0]

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock ``name``.

        If the connection breaks, every further call in the body raises ServerError. The session
        does not reconnect: another process may hold the lock by now, and a crashed server may have
        lost the last commits.
        """
        leased = name in self._leases  # lease and lock are the same advisory lock
        if not leased:
            self.call_advisory_lock("pg_advisory_lock", name)
        outer, self._locked = self._locked, True
        try:
            yield
        finally:
            self._locked = outer
            if not leased:
                self.call_advisory_lock("pg_advisory_unlock", name)

    def lease(self, name: str) -> bool:
        """Hold the lock ``name`` until this process ends. False: another session holds it."""
        if self.call_advisory_lock("pg_try_advisory_lock", name):
            self._leases.add(name)
        return name in self._leases

    def holds_lease(self, name: str) -> bool:
        return name in self._leases

    def release(self, name: str) -> None:
        self._leases.discard(name)
        self._lost_leases.discard(name)
        self.call_advisory_lock("pg_advisory_unlock", name)

    def close(self) -> None:
        """Disconnect, which releases the leases."""
        self._leases.clear()
        if self._connection is not None or self._lock.locked():
            with suppress(TimeoutError):  # asyncpg has aborted the connection
                portal.run(self._close(), timeout=self._timeout + 1)

    async def _close(self) -> None:
        with suppress(TimeoutError):  # an interrupted call may still connect
            async with asyncio.timeout(CLOSE_TIMEOUT), self._lock:
                pass
        if self._connection is not None:
            await self._connection.close(timeout=CLOSE_TIMEOUT)

    def _run(self, call: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        try:
            return portal.run(self._call(call), timeout=self._timeout + 1)
        except Exception as error:
            raise explain(error, self._url) from error

    async def _call(self, call: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        async with self._lock:
            connection = await self._connected()
            try:
                return await call(connection)
            except asyncpg.InternalClientError:
                # The server has terminated the session, and asyncpg has not yet seen the end of
                # the stream. It has sent nothing, so a second attempt cannot run a statement twice.
                connection.terminate()
                return await call(await self._connected())
            except POOLER_ERRORS as error:
                raise pooler_error(self._url) from error

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            if self._locked:
                raise ServerError(
                    f"the connection to the server at {server_place(self._url)} was lost while it"
                    " held a lock",
                    hint="run again; see the log of the server for the reason",
                )
            self._connection = await _connect_maintenance(self._url, self._timeout)
            self._connection.add_termination_listener(self._on_termination)
            self._lost_leases = set(self._leases)
        for name in list(self._lost_leases):
            # This fails while the server has not yet noticed the end of the old session. A later
            # call tries again.
            query = f"SELECT {_lock_call('pg_try_advisory_lock', name)}"
            if await self._connection.fetchval(query):
                self._lost_leases.discard(name)
        return self._connection

    def _on_termination(self, _: Connection) -> None:
        if self._leases and not self._locked:
            self._reclaiming = asyncio.get_running_loop().create_task(self._reclaim_leases())

    async def _reclaim_leases(self) -> None:
        """Take the leases again at once: a sweep drops every database that has no lease."""
        deadline = clocks.monotonic() + self._timeout
        while self._leases and clocks.monotonic() < deadline:
            with suppress(asyncpg.PostgresError, *CONNECTION_LOST):
                async with self._lock:
                    await self._connected()
                if not self._lost_leases:
                    return
            await asyncio.sleep(RETRY_INTERVAL)


async def _connect_maintenance(url: URL, timeout: float) -> Connection:
    """Connect to ``postgres``, else to the database in the URL."""
    application = "pytest-pgtemplate"
    try:
        return await connect(url.set(database="postgres"), timeout=timeout, application=application)
    except (
        asyncpg.InvalidCatalogNameError,
        asyncpg.InsufficientPrivilegeError,
        asyncpg.InvalidAuthorizationSpecificationError,
    ):
        if url.database in (None, "", "postgres"):
            raise
        return await connect(url, timeout=timeout, application=application)


def _lock_call(function: str, name: str) -> str:
    return f"{function}(hashtextextended({quote_literal(name)}, {LOCK_SEED}))"
