"""The admin connection to a server: made again when it breaks, with the leases that it held.

One per process, to one maintenance database, the same for everybody (``postgres`` where it can be
had), because advisory locks are scoped to the database that their session is in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate._server import portal
from pytest_pgtemplate._server.connection import CONNECTION_LOST, Connection, connect
from pytest_pgtemplate._server.connection_errors import explain, server_place
from pytest_pgtemplate._server.quoting import quote_literal
from pytest_pgtemplate.errors import ServerError

LOCK_SEED = 0x7067746D706C  # keeps our advisory locks apart from an application's
CLOSE_TIMEOUT = 5.0  # seconds that the server has to take note that we leave
RETRY = 0.05  # seconds between attempts to reach a server that has gone

T = TypeVar("T")


class Session:
    """Every method takes at most ``timeout`` seconds and raises ServerError."""

    def __init__(self, url: URL, *, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._connection: Connection | None = None
        self._one_at_a_time = asyncio.Lock()
        self._restoring: asyncio.Task[None] | None = None
        self._leases: set[str] = set()
        self._unclaimed: set[str] = set()  # of the leases: those that this connection has not yet
        self._locked = False

    def execute(self, statement: str) -> None:
        self._run(lambda connection: connection.execute(statement))

    def fetch(self, query: str, *arguments: object) -> list[Any]:
        rows: list[Any] = self._run(lambda connection: connection.fetch(query, *arguments))
        return rows

    def call_advisory_lock(self, function: str, name: str) -> Any:
        """What an advisory lock function says to ``name``."""
        return self.fetch(f"SELECT {_lock_call(function, name)}")[0][0]

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock ``name``. If the connection breaks meanwhile, every call raises.

        Others may have got the lock then; and a server that has crashed may have lost what was
        committed last.
        """
        leased = name in self._leases  # which is the same lock
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
        """Hold the lock ``name`` for as long as this process lives; False when it is taken."""
        if self.call_advisory_lock("pg_try_advisory_lock", name):
            self._leases.add(name)
        return name in self._leases

    def holds_lease(self, name: str) -> bool:
        return name in self._leases

    def release(self, name: str) -> None:
        self._leases.discard(name)
        self._unclaimed.discard(name)
        self.call_advisory_lock("pg_advisory_unlock", name)

    def close(self) -> None:
        """Disconnect, which frees the leases."""
        self._leases.clear()
        if self._connection is not None:
            with suppress(TimeoutError):  # it is aborted then
                portal.run(self._connection.close(timeout=CLOSE_TIMEOUT), timeout=self._timeout + 1)

    def _run(self, call: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        try:
            return portal.run(self._call(call), timeout=self._timeout + 1)
        except Exception as error:
            raise explain(error, self._url) from error

    async def _call(self, call: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        async with self._one_at_a_time:
            connection = await self._connected()
            try:
                return await call(connection)
            except asyncpg.InternalClientError:
                # The server has told it to end, and the end is on its way. Nothing was sent.
                connection.terminate()
                return await call(await self._connected())

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            if self._locked:
                raise ServerError(
                    f"the connection to the server at {server_place(self._url)} broke while it held"
                    " a lock",
                    hint="run again; the server's log may tell why",
                )
            self._connection = await _connect_maintenance(self._url, self._timeout)
            self._connection.add_termination_listener(self._on_termination)
            self._unclaimed = set(self._leases)
        for name in list(self._unclaimed):
            # Not at once when the server has yet to notice that our old session has gone.
            if await self._connection.fetchval(
                f"SELECT {_lock_call('pg_try_advisory_lock', name)}"
            ):
                self._unclaimed.discard(name)
        return self._connection

    def _on_termination(self, _: Connection) -> None:
        if self._leases and not self._locked:
            self._restoring = asyncio.get_running_loop().create_task(self._reclaim_leases())

    async def _reclaim_leases(self) -> None:
        """Claim our names again at once: a sweep takes what nobody claims for left behind."""
        deadline = time.monotonic() + self._timeout
        while self._leases and time.monotonic() < deadline:
            with suppress(asyncpg.PostgresError, *CONNECTION_LOST):
                async with self._one_at_a_time:
                    await self._connected()
                if not self._unclaimed:
                    return
            await asyncio.sleep(RETRY)


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
