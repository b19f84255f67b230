"""One engine for all tests of a worker, in whatever event loops they run.

An asyncpg connection belongs to the loop that opened it, so there is a ``Home`` for each loop, and
one for sync code. Tests that share a loop share connections (a checkout takes 0.4 ms, a new
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

from pytest_pgtemplate import _urls
from pytest_pgtemplate._engines.home import LIMIT, PATIENCE, Home, Loop, cancel
from pytest_pgtemplate._engines.options import (
    Options,
    check_engine_options,
    explained,
    with_connect_args,
)
from pytest_pgtemplate._engines.rollback import nest_transactions
from pytest_pgtemplate.errors import ConfigurationError


class _HomePool(Pool):
    """Keeps each connection where it was opened."""

    _sqla_logger_namespace = "sqlalchemy.pool.pgtemplate"  # quiet unless asked for, as its own are

    def __init__(self, creator: Any, **options: Any) -> None:
        super().__init__(creator, **options)
        self.homes: dict[Loop | None, Home] = {}

    def home(self) -> Home:
        """Where this code runs."""
        loop = _running_loop() if self._is_asyncio else None
        home = self.homes.get(loop)
        if home is None:
            home = self.homes[loop] = Home(loop)
            if loop is not None:
                home.run_before_close(partial(self._leave, home))
        return home

    def _leave(self, home: Home) -> None:
        try:
            home.close()
        finally:
            del self.homes[home.loop]

    def _do_get(self) -> ConnectionPoolEntry:
        home = self.home()
        if not home.wait_for_slot():
            raise exc.TimeoutError(
                f"all {LIMIT} connections are in use, and none came back in {PATIENCE:.0f} s"
            )
        try:
            record = home.take_idle() or self._create_connection()
        except BaseException:
            home.free_slot()
            raise
        assert record.record_info is not None
        record.record_info["home"] = home
        return record

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        home = home_of(record)
        home.free_slot()
        home.put_back(record)

    def dispose(self) -> None:
        """Close what is idle here."""
        self.home().close_idle()

    def recreate(self) -> Pool:
        """Go on with this pool: connections of other loops can only be closed there."""
        return self

    def status(self) -> str:
        return f"{type(self).__name__}: connections in {len(self.homes)} event loops"


class AsyncHomePool(_HomePool):
    _is_asyncio = True


class SyncHomePool(_HomePool):
    _is_asyncio = False


class _WorkerPool:
    """The engine of a worker's database, and all that tests opened over it."""

    def __init__(self, engine: Engine) -> None:
        assert isinstance(engine.pool, _HomePool)
        self._engine = engine
        self._pool: _HomePool = engine.pool
        self._own_listeners: Any = None
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "checkout", self._checked_out)
        event.listen(engine, "checkin", self._checked_in)
        event.listen(engine, "invalidate", self._invalidated)
        event.listen(engine, "begin", self._begun)
        event.listen(Session, "after_begin", self._session_begun)

    def close_open(self) -> None:
        """Give back every connection that is still checked out."""
        for home in list(self._pool.homes.values()):
            if home.out:
                home.run(home.close_open)

    def put_right(self) -> None:
        """Make every connection that was used since the last time as good as new."""
        for home in list(self._pool.homes.values()):
            if home.used:
                home.run(home.put_right)

    def close(self) -> None:
        """Close all connections, wherever they live."""
        for home in list(self._pool.homes.values()):
            home.run(home.close)

    def _engine_of_test(self) -> Engine:
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
        self._pool.home().used.add(record)

    def _checked_out(
        self, connection: Any, record: ConnectionPoolEntry, proxy: PoolProxiedConnection
    ) -> None:
        home = home_of(record)
        home.out[record] = proxy
        if record not in home.used:
            home.used.add(record)
            self._connect_again(connection, record)

    def _connect_again(self, connection: Any, record: ConnectionPoolEntry) -> None:
        """The connection is not new, but it is to the test's own listeners."""
        listeners: Any = self._pool.dispatch.connect
        for listener in list(listeners):
            if listener not in self._own_listeners.connect:
                listener(connection, record)

    def _checked_in(self, _: Any, record: ConnectionPoolEntry) -> None:
        home_of(record).out.pop(record, None)

    def _invalidated(self, _: Any, record: ConnectionPoolEntry, __: object) -> None:
        """What interrupts a query, such as pytest-timeout, does not end it on the server."""
        cancel(record.driver_connection)

    def _begun(self, connection: Connection) -> None:
        home_of(connection.connection).connections.add(connection)

    def _session_begun(self, session: Session, _: Any, connection: Connection) -> None:
        if connection.engine.pool is self._pool:
            home_of(connection.connection).sessions.add(session)


class AsyncPool(_WorkerPool):
    """The connections to a worker's database for async tests."""

    def __init__(self, url: URL, options: Options) -> None:
        self.engine = create_async_engine(url, poolclass=AsyncHomePool, **options)
        super().__init__(self.engine.sync_engine)
        event.listen(self.engine.sync_engine, "before_cursor_execute", _stay_in_loop)

    def view(self) -> AsyncEngine:
        """An engine for the next test."""
        return AsyncEngine(self._engine_of_test())


class SyncPool(_WorkerPool):
    """The connections to a worker's database for sync tests."""

    def __init__(self, url: URL, options: Options) -> None:
        self.engine = create_engine(url, poolclass=SyncHomePool, **options)
        super().__init__(self.engine)

    def view(self) -> Engine:
        """An engine for the next test."""
        return self._engine_of_test()


def home_of(connection: ConnectionPoolEntry | PoolProxiedConnection) -> Home:
    assert connection.record_info is not None
    home: Home = connection.record_info["home"]
    return home


def connect_on_use(engine: AsyncEngine) -> AsyncConnection:
    """A connection that needs no ``await`` to be made: it connects in the loop that first uses it.

    SQLAlchemy's Connection does just that when it was invalidated.
    """
    connection = Connection(engine.sync_engine, connection=_NotYet())  # type: ignore[arg-type]
    connection.invalidate()
    return _StartedConnection(engine, connection)


class _StartedConnection(AsyncConnection):
    async def start(self, is_ctxmanager: bool = False) -> AsyncConnection:  # noqa: ARG002
        """Let ``async with`` and ``await`` do no harm: they are what one is used to."""
        return self


class _NotYet:
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


def _stay_in_loop(connection: Connection, *_: object) -> None:
    if home_of(connection.connection).loop is not asyncio.get_running_loop():
        raise ConfigurationError(
            "this transaction was begun in another event loop, which it cannot leave",
            hint="end it where it was begun, or give fixtures and tests the same loop: set"
            " asyncio_default_fixture_loop_scope and asyncio_default_test_loop_scope alike",
        )


class Pools:
    """The pools of a worker's database, each made when it is first asked for.

    ``options`` are the user's keywords for the engines. ``nested``: one whose connections live in a
    transaction that is never committed. Raises ConfigurationError for options that cannot be used.
    """

    def __init__(self, url: URL, options: Options) -> None:
        check_engine_options(options)
        self._url = url
        self._options = options
        self._async: dict[bool, AsyncPool] = {}
        self._sync: dict[bool, SyncPool] = {}

    def of_async(self, *, nested: bool = False) -> AsyncPool:
        if nested not in self._async:
            with explained(self._options, nested=nested):
                pool = AsyncPool(_urls.async_url(self._url), self._options)
            if nested:
                nest_transactions(pool.engine.sync_engine)
            self._async[nested] = pool
        return self._async[nested]

    def of_sync(self, *, nested: bool = False) -> SyncPool:
        """Raises ConfigurationError also when no sync driver is installed."""
        if nested not in self._sync:
            url = _urls.sync_url(self._url)
            beside = _urls.connect_args(self._url, _urls.driver_of(url))
            with explained(self._options, nested=nested):
                pool = SyncPool(url, with_connect_args(self._options, beside))
            if nested:
                nest_transactions(pool.engine)
            self._sync[nested] = pool
        return self._sync[nested]

    def put_right(self) -> None:
        """Make every connection that a test has used as good as new, once it has closed them."""
        for pool in (*self._async.values(), *self._sync.values()):
            pool.put_right()

    def close(self) -> None:
        """Close all connections, wherever they live."""
        for pool in (*self._async.values(), *self._sync.values()):
            pool.close()
