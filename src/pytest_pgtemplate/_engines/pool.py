"""One engine for all tests of a worker, in any number of event loops.

An asyncpg connection works only in the loop that opened it, so the pool has a ``LoopPool`` for each
loop, and one for sync code. Tests that share a loop share connections: a checkout takes 0.4 ms, a
new connection 5 ms. What a test leaves open is closed after the test, or when its loop closes.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection

from pytest_pgtemplate._engines.loop_pool import (
    CHECKOUT_TIMEOUT,
    LISTENERS,
    MAX_CONNECTIONS,
    PERMANENT,
    RAW,
    Loop,
    LoopPool,
    cancel,
)
from pytest_pgtemplate._engines.options import Options
from pytest_pgtemplate._engines.permanent import is_permanent
from pytest_pgtemplate._internals.sqlalchemy import (
    CustomPool,
    EngineListeners,
    driver_of,
    share_events,
    watch_driver_connections,
)
from pytest_pgtemplate._server import forks
from pytest_pgtemplate.errors import ConfigurationError


class _PerLoopPool(CustomPool):
    """A pool that returns each connection only to code in the loop that opened it."""

    def __init__(self, creator: Any, **options: Any) -> None:
        super().__init__(creator, **options)
        self.loop_pools: dict[Loop | None, LoopPool] = {}
        self.reconnects = True

    def current_loop_pool(self) -> LoopPool:
        """Return the pool of the running loop, or of sync code."""
        loop = _running_loop() if self._is_asyncio else None
        loop_pool = self.loop_pools.get(loop)
        if loop_pool is None:
            loop_pool = self.loop_pools[loop] = LoopPool(loop, self.reconnects)
            if loop is not None:
                loop_pool.run_before_close(partial(self._close_loop_pool, loop_pool))
        return loop_pool

    def _close_loop_pool(self, loop_pool: LoopPool) -> None:
        try:
            loop_pool.close()
        finally:
            del self.loop_pools[loop_pool.loop]

    def checkout_entry(self) -> ConnectionPoolEntry:
        loop_pool = self.current_loop_pool()
        if not loop_pool.wait_for_slot():
            raise exc.TimeoutError(
                f"all {MAX_CONNECTIONS} connections are in use, and none was returned within"
                f" {CHECKOUT_TIMEOUT:.0f} s"
            )
        try:
            record = loop_pool.pop_idle()
            if record is None:
                record = self.new_entry()
            elif loop_pool.must_check(record):
                self.invalidate_unless_alive(record)
        except BaseException:
            loop_pool.release_slot()
            raise
        assert record.record_info is not None
        record.record_info["loop_pool"] = loop_pool
        return record

    def checkin_entry(self, record: ConnectionPoolEntry) -> None:
        loop_pool = loop_pool_of(record)
        loop_pool.release_slot()
        loop_pool.checkin(record)

    def dispose(self) -> None:
        """Close the idle connections of the current loop."""
        self.current_loop_pool().close_idle()

    def recreate(self) -> Pool:
        """Return this pool: connections of other loops can only be closed in their loop."""
        return self

    def status(self) -> str:
        return f"{type(self).__name__}: connections in {len(self.loop_pools)} event loops"


class AsyncPerLoopPool(_PerLoopPool):
    _is_asyncio = True


class SyncPerLoopPool(_PerLoopPool):
    _is_asyncio = False


class _PooledEngine:
    """The engine of a worker's database; tracks everything that a test opens with it."""

    def __init__(self, engine: Engine) -> None:
        assert isinstance(engine.pool, _PerLoopPool)
        self._engine = engine
        self._pool: _PerLoopPool = engine.pool
        self._listeners = EngineListeners(engine)
        self._all_listeners = [self._listeners]  # their "connect" listeners see each connection
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "checkout", self._checked_out)
        event.listen(engine, "checkin", self._checked_in)
        event.listen(engine, "detach", self._detached)
        event.listen(engine, "invalidate", self._invalidated)
        event.listen(engine, "begin", self._begun)
        event.listen(engine, "before_cursor_execute", _check_statement)
        event.listen(engine, "engine_connect", _connection_made)
        watch_driver_connections(engine, _record_permanent)
        event.listen(Session, "after_begin", self._session_begun)
        self._parent_pools: list[LoopPool] = []
        forks.register(self)

    def after_fork(self) -> None:
        """In a forked child: the connections stay with the parent, and are never closed here."""
        # Keep references: garbage collection would close the connections.
        self._parent_pools += self._pool.loop_pools.values()
        self._pool.loop_pools.clear()

    def follow(self, other: _PooledEngine) -> None:
        """Call "connect" listeners that a test adds to ``other`` for this engine, too."""
        self._all_listeners.append(other._listeners)

    def close_open(self) -> None:
        """Close everything open, and return every connection that is still checked out."""
        for loop_pool in list(self._pool.loop_pools.values()):
            if loop_pool.checked_out:
                loop_pool.run(loop_pool.close_open)

    def reset_sessions(self) -> None:
        """Reset the session of every connection that was used since the last call."""
        for loop_pool in list(self._pool.loop_pools.values()):
            if loop_pool.used:
                loop_pool.run(loop_pool.reset_sessions)

    def reset_idle_sessions(self) -> None:
        """The same, except for connections that shared fixtures still use."""
        for loop_pool in list(self._pool.loop_pools.values()):
            if loop_pool.used_and_idle:
                loop_pool.run(loop_pool.reset_idle_sessions)

    def close(self) -> None:
        """Close all connections, each in its event loop."""
        for loop_pool in list(self._pool.loop_pools.values()):
            loop_pool.run(loop_pool.close)

    def _connected(self, connection: Any, record: ConnectionPoolEntry) -> None:
        assert record.record_info is not None
        record.record_info.pop(PERMANENT, None)
        record.record_info[LISTENERS] = self._connection_listeners
        for listeners in self._all_listeners[1:]:
            listeners.call_connect_listeners(connection, record)
        self._pool.current_loop_pool().used.add(record)

    def _checked_out(
        self, connection: Any, record: ConnectionPoolEntry, proxy: PoolProxiedConnection
    ) -> None:
        assert record.record_info is not None
        loop_pool = loop_pool_of(record)
        loop_pool.checked_out[record] = proxy
        record.record_info[RAW] = True
        if record in loop_pool.used:
            return
        if record.record_info[LISTENERS] != self._connection_listeners:
            # Listeners of an earlier test may have changed it.
            raise exc.DisconnectionError
        loop_pool.used.add(record)
        # A test expects its "connect" listeners to see each connection that it uses.
        for listeners in self._all_listeners:
            listeners.call_connect_listeners(connection, record)

    @property
    def _connection_listeners(self) -> list[object]:
        return [listeners.connection_listeners() for listeners in self._all_listeners]

    def _checked_in(self, _: Any, record: ConnectionPoolEntry) -> None:
        loop_pool_of(record).checked_out.pop(record, None)
        if record.record_info is not None and RAW in record.record_info:
            record.record_info[PERMANENT] = True  # the next checkout resets RAW

    def _detached(self, _: Any, record: ConnectionPoolEntry) -> None:
        """Track the connection without its pool entry, which is in the pool again."""
        loop_pool = loop_pool_of(record)
        if (proxy := loop_pool.checked_out.pop(record, None)) is not None:
            loop_pool.checked_out[proxy] = proxy

    def _invalidated(self, _: Any, record: ConnectionPoolEntry, __: object) -> None:
        # pytest-timeout, for example, interrupts a query in Python but not on the server.
        if record.dbapi_connection is not None:
            cancel(driver_of(record.dbapi_connection))

    def _begun(self, connection: Connection) -> None:
        record = connection.connection
        if record.record_info is not None:  # None: it was detached from its pool
            loop_pool_of(record).connections.add(connection)
            record.record_info.pop(RAW, None)

    def _session_begun(self, session: Session, _: Any, connection: Connection) -> None:
        if connection.engine.pool is self._pool and not connection.connection.is_detached:
            loop_pool_of(connection.connection).sessions.add(session)


class AsyncPooledEngine(_PooledEngine):
    """The engine for async tests."""

    def __init__(self, url: URL, options: Options) -> None:
        self.engine = create_async_engine(url, poolclass=AsyncPerLoopPool, **options)
        super().__init__(self.engine.sync_engine)
        event.listen(self.engine.sync_engine, "before_cursor_execute", _refuse_other_loop)

    def engine_for_test(self, events_of: AsyncEngine | None = None) -> AsyncEngine:
        """Return an engine for the next test. Listeners of ``events_of`` get its events, too."""
        engine = self._listeners.engine_for_test()
        return AsyncEngine(share_events(engine, events_of.sync_engine) if events_of else engine)


class SyncPooledEngine(_PooledEngine):
    """The engine for sync tests."""

    def __init__(self, url: URL, options: Options) -> None:
        self.engine = create_engine(url, poolclass=SyncPerLoopPool, **options)
        super().__init__(self.engine)

    def engine_for_test(self, events_of: Engine | None = None) -> Engine:
        """Return an engine for the next test. Listeners of ``events_of`` get its events, too."""
        engine = self._listeners.engine_for_test()
        return share_events(engine, events_of) if events_of else engine


def loop_pool_of(connection: ConnectionPoolEntry | PoolProxiedConnection) -> LoopPool:
    assert connection.record_info is not None
    loop_pool: LoopPool = connection.record_info["loop_pool"]
    return loop_pool


def _connection_made(connection: Connection) -> None:
    info = connection.connection.record_info
    if info is not None:  # None: it connects on first use
        info.pop(RAW, None)


def _record_permanent(connection: PoolProxiedConnection) -> None:
    """Record that a reset may not undo what the test does: nothing shows what a driver sends."""
    if connection.record_info is not None:  # None: it was detached from its pool
        connection.record_info[PERMANENT] = True


def _check_statement(connection: Connection, _: Any, statement: str, *__: object) -> None:
    """Detect PREPARE and custom settings, which RESET_SESSION does not undo."""
    if is_permanent(statement):
        _record_permanent(connection.connection)


def _running_loop() -> Loop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "the async database fixtures were used outside of an asyncio event loop",
            hint="asyncpg needs asyncio: with anyio, use the asyncio backend, not trio",
        ) from None


def _refuse_other_loop(connection: Connection, *_: object) -> None:
    record = connection.connection
    if record.is_detached:
        return
    if loop_pool_of(record).loop is not asyncio.get_running_loop():
        raise ConfigurationError(
            "this transaction began in another event loop, and cannot be used in this one",
            hint="end it in its own loop, or use one loop for fixtures and tests: set"
            " asyncio_default_fixture_loop_scope and asyncio_default_test_loop_scope to the same"
            " scope",
        )
