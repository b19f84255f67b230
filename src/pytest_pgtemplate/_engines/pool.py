"""One engine for all tests of a worker, in whatever event loops they run.

An asyncpg connection belongs to the loop that opened it, so there is a ``LoopPool`` for each loop,
and one for sync code. Tests that share a loop share connections (a checkout takes 0.4 ms, a new
connection 5 ms); tests with a loop of their own never see another's. What a test leaves open is
closed after it, or when its loop closes, whichever comes first.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection

from pytest_pgtemplate._engines.loop_pool import (
    CHECKOUT_TIMEOUT,
    MAX_CONNECTIONS,
    Loop,
    LoopPool,
    cancel,
)
from pytest_pgtemplate._engines.options import Options
from pytest_pgtemplate.errors import ConfigurationError


class _PerLoopPool(Pool):
    """Keeps each connection where it was opened."""

    _sqla_logger_namespace = "sqlalchemy.pool.pgtemplate"  # quiet unless asked for, as its own are

    def __init__(self, creator: Any, **options: Any) -> None:
        super().__init__(creator, **options)
        self.loop_pools: dict[Loop | None, LoopPool] = {}

    def current_loop_pool(self) -> LoopPool:
        """Where this code runs."""
        loop = _running_loop() if self._is_asyncio else None
        loop_pool = self.loop_pools.get(loop)
        if loop_pool is None:
            loop_pool = self.loop_pools[loop] = LoopPool(loop)
            if loop is not None:
                loop_pool.run_before_close(partial(self._close_loop_pool, loop_pool))
        return loop_pool

    def _close_loop_pool(self, loop_pool: LoopPool) -> None:
        try:
            loop_pool.close()
        finally:
            del self.loop_pools[loop_pool.loop]

    def _do_get(self) -> ConnectionPoolEntry:
        loop_pool = self.current_loop_pool()
        if not loop_pool.wait_for_slot():
            raise exc.TimeoutError(
                f"all {MAX_CONNECTIONS} connections are in use, and none was returned within"
                f" {CHECKOUT_TIMEOUT:.0f} s"
            )
        try:
            record = loop_pool.pop_idle() or self._create_connection()
        except BaseException:
            loop_pool.release_slot()
            raise
        assert record.record_info is not None
        record.record_info["loop_pool"] = loop_pool
        return record

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        loop_pool = loop_pool_of(record)
        loop_pool.release_slot()
        loop_pool.checkin(record)

    def dispose(self) -> None:
        """Close what is idle here."""
        self.current_loop_pool().close_idle()

    def recreate(self) -> Pool:
        """Go on with this pool: connections of other loops can only be closed there."""
        return self

    def status(self) -> str:
        return f"{type(self).__name__}: connections in {len(self.loop_pools)} event loops"


class AsyncPerLoopPool(_PerLoopPool):
    _is_asyncio = True


class SyncPerLoopPool(_PerLoopPool):
    _is_asyncio = False


class _PooledEngine:
    """The engine of a worker's database, and all that tests opened over it."""

    def __init__(self, engine: Engine) -> None:
        assert isinstance(engine.pool, _PerLoopPool)
        self._engine = engine
        self._pool: _PerLoopPool = engine.pool
        self._own_listeners: Any = None
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "checkout", self._checked_out)
        event.listen(engine, "checkin", self._checked_in)
        event.listen(engine, "invalidate", self._invalidated)
        event.listen(engine, "begin", self._begun)
        event.listen(Session, "after_begin", self._session_begun)

    def close_open(self) -> None:
        """Give back every connection that is still checked out."""
        for loop_pool in list(self._pool.loop_pools.values()):
            if loop_pool.checked_out:
                loop_pool.run(loop_pool.close_open)

    def reset_sessions(self) -> None:
        """Make every connection that was used since the last time as good as new."""
        for loop_pool in list(self._pool.loop_pools.values()):
            if loop_pool.used:
                loop_pool.run(loop_pool.reset_sessions)

    def close(self) -> None:
        """Close all connections, wherever they live."""
        for loop_pool in list(self._pool.loop_pools.values()):
            loop_pool.run(loop_pool.close)

    def _fresh_engine(self) -> Engine:
        """An engine over the shared pool; what listens to it does so until the next one is made."""
        pool: Any = self._pool
        dialect: Any = self._engine.dialect
        if self._own_listeners is None:
            self._own_listeners = pool.dispatch
        elif (
            _listeners(pool.dispatch) == _listeners(self._own_listeners)
            and not any(_listeners(dialect.dispatch))  # to which we do not listen
        ):
            return self._engine.execution_options()
        for target in (pool, dialect):
            vars(target).pop("dispatch", None)  # SQLAlchemy makes it anew
        pool.dispatch._update(self._own_listeners, only_propagate=False)
        return self._engine.execution_options()

    def _connected(self, _: Any, record: ConnectionPoolEntry) -> None:
        self._pool.current_loop_pool().used.add(record)

    def _checked_out(
        self, connection: Any, record: ConnectionPoolEntry, proxy: PoolProxiedConnection
    ) -> None:
        loop_pool = loop_pool_of(record)
        loop_pool.checked_out[record] = proxy
        if record not in loop_pool.used:
            loop_pool.used.add(record)
            self._connect_again(connection, record)

    def _connect_again(self, connection: Any, record: ConnectionPoolEntry) -> None:
        """The connection is not new, but it is to the test's own listeners."""
        listeners: Any = self._pool.dispatch.connect
        for listener in list(listeners):
            if listener not in self._own_listeners.connect:
                listener(connection, record)

    def _checked_in(self, _: Any, record: ConnectionPoolEntry) -> None:
        loop_pool_of(record).checked_out.pop(record, None)

    def _invalidated(self, _: Any, record: ConnectionPoolEntry, __: object) -> None:
        """What interrupts a query, such as pytest-timeout, does not end it on the server."""
        cancel(record.driver_connection)

    def _begun(self, connection: Connection) -> None:
        loop_pool_of(connection.connection).connections.add(connection)

    def _session_begun(self, session: Session, _: Any, connection: Connection) -> None:
        if connection.engine.pool is self._pool:
            loop_pool_of(connection.connection).sessions.add(session)


class AsyncPooledEngine(_PooledEngine):
    """The connections to a worker's database for async tests."""

    def __init__(self, url: URL, options: Options) -> None:
        self.engine = create_async_engine(url, poolclass=AsyncPerLoopPool, **options)
        super().__init__(self.engine.sync_engine)
        event.listen(self.engine.sync_engine, "before_cursor_execute", _refuse_other_loop)

    def engine_for_test(self) -> AsyncEngine:
        """An engine for the next test."""
        return AsyncEngine(self._fresh_engine())


class SyncPooledEngine(_PooledEngine):
    """The connections to a worker's database for sync tests."""

    def __init__(self, url: URL, options: Options) -> None:
        self.engine = create_engine(url, poolclass=SyncPerLoopPool, **options)
        super().__init__(self.engine)

    def engine_for_test(self) -> Engine:
        """An engine for the next test."""
        return self._fresh_engine()


def loop_pool_of(connection: ConnectionPoolEntry | PoolProxiedConnection) -> LoopPool:
    assert connection.record_info is not None
    loop_pool: LoopPool = connection.record_info["loop_pool"]
    return loop_pool


def connect_on_use(engine: AsyncEngine) -> AsyncConnection:
    """A connection that needs no ``await`` to be made: it connects in the loop that first uses it.

    SQLAlchemy's Connection does just that when it was invalidated.
    """
    connection = Connection(engine.sync_engine, connection=_Unconnected())  # type: ignore[arg-type]
    connection.invalidate()
    return _StartedConnection(engine, connection)


class _StartedConnection(AsyncConnection):
    async def start(self, is_ctxmanager: bool = False) -> AsyncConnection:  # noqa: ARG002
        """Let ``async with`` and ``await`` do no harm: they are what one is used to."""
        return self


class _Unconnected:
    is_valid = False


def _listeners(dispatch: Any) -> list[list[Any]]:
    """Who listens, event by event."""
    return [list(each) for each in dispatch._event_descriptors]


def _running_loop() -> Loop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "the async database fixtures were used outside of an asyncio event loop",
            hint="asyncpg needs asyncio: under anyio choose the asyncio backend, not trio",
        ) from None


def _refuse_other_loop(connection: Connection, *_: object) -> None:
    if loop_pool_of(connection.connection).loop is not asyncio.get_running_loop():
        raise ConfigurationError(
            "this transaction was begun in another event loop, which it cannot leave",
            hint="end it where it was begun, or give fixtures and tests the same loop: set"
            " asyncio_default_fixture_loop_scope and asyncio_default_test_loop_scope alike",
        )
