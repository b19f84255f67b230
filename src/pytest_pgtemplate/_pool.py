"""One engine for all tests of a worker, in whatever event loops they run.

An asyncpg connection belongs to the loop that opened it. ``LoopPool`` keeps idle connections per
loop: tests that share a loop share connections (a checkout takes 0.4 ms, a new connection 5 ms),
tests with a loop of their own never see another's. What a test leaves open is closed in the loop
that it was opened in: after the test, or while that loop shuts down, whichever comes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from pytest_pgtemplate.errors import ConfigurationError

KEEP = 5  # idle connections per loop, as many as SQLAlchemy's own pools keep
CLOSE_TIMEOUT = 10.0  # seconds to close what was left open in a loop that another thread runs

Loop = asyncio.AbstractEventLoop


class LoopPool(Pool):
    """Keeps each connection within the event loop that opened it."""

    _is_asyncio = True

    def __init__(self, creator: Any, **options: Any) -> None:
        super().__init__(creator, **options)
        self._idle: dict[Loop, list[ConnectionPoolEntry]] = {}

    def _do_get(self) -> ConnectionPoolEntry:
        idle = self._idle.get(_running_loop())
        return idle.pop() if idle else self._create_connection()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        idle = self._idle.setdefault(_running_loop(), [])
        if len(idle) < KEEP:
            idle.append(record)
        else:
            record.close()

    def dispose(self) -> None:
        """Close what is idle in the running loop."""
        for record in self._idle.pop(_running_loop(), ()):
            record.close()

    def recreate(self) -> LoopPool:
        """Go on with this pool: connections of other loops can only be closed there."""
        return self

    def status(self) -> str:
        return f"LoopPool: idle connections in {len(self._idle)} event loops"


class AsyncPool:
    """The async engine of a worker's database, and the connections checked out of it."""

    def __init__(self, url: URL) -> None:
        self.engine = create_async_engine(url, poolclass=LoopPool)
        self._out: dict[Loop, dict[ConnectionPoolEntry, PoolProxiedConnection]] = {}
        self._guards: dict[Loop, AsyncGenerator[None]] = {}
        event.listen(self.engine.sync_engine, "checkout", self._checked_out)
        event.listen(self.engine.sync_engine, "checkin", self._checked_in)

    def view(self) -> AsyncEngine:
        """An engine of a test's own over the shared pool: what listens to it, ends with it."""
        return self.engine.execution_options()

    def close_open(self) -> None:
        """Give back every connection that is still checked out, each in its own loop."""
        for loop in list(self._out):
            _run_in(loop, self._close_open)

    def close(self) -> None:
        """Close all connections whose loop still lives."""
        for loop in list(self._guards):
            _run_in(loop, self._close)

    def _checked_out(
        self, _: Any, record: ConnectionPoolEntry, proxy: PoolProxiedConnection
    ) -> None:
        loop = asyncio.get_running_loop()
        self._out.setdefault(loop, {})[record] = proxy
        if loop not in self._guards:
            self._guards[loop] = guard = self._guard()
            _start(guard)

    def _checked_in(self, _: Any, record: ConnectionPoolEntry) -> None:
        for out in self._out.values():
            out.pop(record, None)

    async def _guard(self) -> AsyncGenerator[None]:
        """Every loop closes its async generators before it closes: the last chance to do I/O."""
        try:
            yield
        finally:
            await self._close()

    async def _close_open(self) -> None:
        for proxy in list(self._out.pop(asyncio.get_running_loop(), {}).values()):
            await greenlet_spawn(proxy.close)

    async def _close(self) -> None:
        await self._close_open()
        await greenlet_spawn(self.engine.sync_engine.pool.dispose)
        self._guards.pop(asyncio.get_running_loop(), None)


class SyncPool:
    """The sync engine of a worker's database, and the connections checked out of it."""

    def __init__(self, url: URL) -> None:
        self.engine = create_engine(url)
        self._out: dict[ConnectionPoolEntry, PoolProxiedConnection] = {}
        event.listen(self.engine, "checkout", self._checked_out)
        event.listen(self.engine, "checkin", self._checked_in)

    def view(self) -> Engine:
        """An engine of a test's own over the shared pool: what listens to it, ends with it."""
        return self.engine.execution_options()

    def close_open(self) -> None:
        """Give back every connection that is still checked out."""
        for proxy in list(self._out.values()):
            proxy.close()

    def close(self) -> None:
        self.close_open()
        self.engine.dispose()

    def _checked_out(
        self, _: Any, record: ConnectionPoolEntry, proxy: PoolProxiedConnection
    ) -> None:
        self._out[record] = proxy

    def _checked_in(self, _: Any, record: ConnectionPoolEntry) -> None:
        self._out.pop(record, None)


def connect_on_use(engine: AsyncEngine) -> AsyncConnection:
    """A connection that needs no ``await`` to be made: it connects in the loop that first uses it.

    SQLAlchemy's Connection does just that when it was invalidated.
    """
    connection = Connection(engine.sync_engine, connection=_NotYet())  # type: ignore[arg-type]
    connection.invalidate()
    return AsyncConnection(engine, connection)


class _NotYet:
    is_valid = False


def _running_loop() -> Loop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "the async database fixtures were used outside of an asyncio event loop",
            hint="asyncpg needs asyncio: under anyio choose the asyncio backend, not trio",
        ) from None


def _start(guard: AsyncGenerator[None]) -> None:
    """Advance ``guard`` to its ``yield``, which registers it with the running loop."""
    try:
        guard.__anext__().send(None)  # type: ignore[attr-defined]
    except StopIteration:
        pass


def _run_in(loop: Loop, close: Any) -> None:
    if loop.is_closed():
        return
    if loop.is_running():
        asyncio.run_coroutine_threadsafe(close(), loop).result(CLOSE_TIMEOUT)
    else:
        loop.run_until_complete(close())
