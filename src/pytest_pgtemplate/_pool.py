"""One engine for all tests of a worker, in whatever event loops they run.

An asyncpg connection belongs to the loop that opened it, so there is a ``Home`` per loop, and one
for sync code. Tests that share a loop share connections (a checkout takes 0.4 ms, a new connection
5 ms); tests with a loop of their own never see another's. What a test leaves open is closed where
it was opened: after the test, or when that loop closes, whichever comes first.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection
from sqlalchemy.util import await_only, greenlet_spawn

from pytest_pgtemplate.errors import ConfigurationError

KEEP = 5  # idle connections per home; with LIMIT the same as in SQLAlchemy's own pools
LIMIT = 15  # connections per home: who wants one more waits
PATIENCE = 30.0  # seconds that it waits
CLOSE_TIMEOUT = 10.0  # seconds to close what a test left open

# All that a session can have besides a transaction, for the next test to find.
FORGET = """
    CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; UNLISTEN *;
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES
"""

Loop = asyncio.AbstractEventLoop


@dataclass(eq=False)
class Home:
    """Where connections live: an event loop, or None for sync code."""

    loop: Loop | None
    idle: list[ConnectionPoolEntry] = field(default_factory=list)
    # Of the test that runs:
    out: dict[ConnectionPoolEntry, PoolProxiedConnection] = field(default_factory=dict)
    used: set[ConnectionPoolEntry] = field(default_factory=set)
    sessions: WeakSet[Session] = field(default_factory=WeakSet)
    connections: WeakSet[Connection] = field(default_factory=WeakSet)

    def __post_init__(self) -> None:
        self._slots: Any = (
            threading.Semaphore(LIMIT) if self.loop is None else asyncio.Semaphore(LIMIT)
        )

    def wait_for_slot(self) -> bool:
        """Take one of the LIMIT places; False when none got free in time."""
        if self.loop is None:
            return bool(self._slots.acquire(timeout=PATIENCE))
        if not self._slots.locked():
            return bool(await_only(self._slots.acquire()))
        try:
            return bool(await_only(asyncio.wait_for(self._slots.acquire(), PATIENCE)))
        except TimeoutError:
            return False

    def free_slot(self) -> None:
        self._slots.release()

    def close_open(self) -> None:
        """Close everything that a test left open, from the top down."""
        if self.loop is not None:
            await_only(_generators_closed())
        for session in list(self.sessions):
            with suppress(Exception):  # whatever it is in the middle of: its connection is next
                session.close()
        for connection in list(self.connections):
            with suppress(Exception):
                if transaction := connection.get_transaction():
                    transaction.rollback()
        for proxy in list(self.out.values()):
            proxy.close()
        self.out.clear()
        self.sessions.clear()
        self.connections.clear()

    def forget(self) -> None:
        """End the test in every session that it used: settings, temporary tables, locks."""
        for record in self.used:
            if record.dbapi_connection is not None:
                try:
                    _forget(record.dbapi_connection)
                except Exception as error:
                    record.invalidate(error)
        self.used.clear()

    def close(self) -> None:
        """Close all connections."""
        self.close_open()
        self.used.clear()
        while self.idle:
            self.idle.pop().close()

    def run(self, act: Callable[[], None]) -> None:
        """Run ``act``, which does I/O over these connections, where they live."""
        if self.loop is None:
            act()
        else:
            _run_in(self.loop, greenlet_spawn(act))


class _HomePool(Pool):
    """Keeps each connection where it was opened."""

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
                _before_close(loop, partial(self._leave, home))
        return home

    async def _leave(self, home: Home) -> None:
        await greenlet_spawn(home.close)
        self.homes.pop(home.loop, None)

    def _do_get(self) -> ConnectionPoolEntry:
        home = self.home()
        if not home.wait_for_slot():
            raise exc.TimeoutError(
                f"all {LIMIT} connections are in use, and none came back in {PATIENCE:.0f} s"
            )
        try:
            record = home.idle.pop() if home.idle else self._create_connection()
        except BaseException:
            home.free_slot()
            raise
        assert record.record_info is not None
        record.record_info["home"] = home
        return record

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        assert record.record_info is not None
        home: Home = record.record_info["home"]
        home.free_slot()
        if len(home.idle) < KEEP:
            home.idle.append(record)
        else:
            record.close()

    def dispose(self) -> None:
        """Close what is idle here."""
        home = self.home()
        while home.idle:
            home.idle.pop().close()

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
        event.listen(engine, "begin", self._begun)
        event.listen(Session, "after_begin", self._session_begun)

    def close_open(self) -> None:
        """Give back every connection that is still checked out, as good as new."""

        def end_test(home: Home) -> None:
            home.close_open()
            home.forget()

        for home in list(self._pool.homes.values()):
            if home.used:
                home.run(partial(end_test, home))

    def close(self) -> None:
        """Close all connections, wherever they live."""
        for home in list(self._pool.homes.values()):
            home.run(home.close)

    def _engine_of_test(self) -> Engine:
        """An engine over the shared pool; what listens to it does so until the next one is made."""
        pool: Any = self._pool
        if self._own_listeners is None:
            self._own_listeners = pool.dispatch
        for target in (pool, self._engine.dialect):
            vars(target).pop("dispatch", None)  # SQLAlchemy makes it anew
        pool.dispatch._update(self._own_listeners, only_propagate=False)
        return self._engine.execution_options()

    def _connected(self, _: Any, record: ConnectionPoolEntry) -> None:
        self._pool.home().used.add(record)

    def _checked_out(
        self, connection: Any, record: ConnectionPoolEntry, proxy: PoolProxiedConnection
    ) -> None:
        home = self._pool.home()
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
        assert record.record_info is not None
        record.record_info["home"].out.pop(record, None)

    def _begun(self, connection: Connection) -> None:
        self._pool.home().connections.add(connection)

    def _session_begun(self, session: Session, _: Any, connection: Connection) -> None:
        if connection.engine.pool is self._pool:
            self._pool.home().sessions.add(session)


class AsyncPool(_WorkerPool):
    """The connections to a worker's database for async tests."""

    def __init__(self, url: URL) -> None:
        self.engine = create_async_engine(url, poolclass=AsyncHomePool)
        super().__init__(self.engine.sync_engine)

    def view(self) -> AsyncEngine:
        """An engine for the next test."""
        return AsyncEngine(self._engine_of_test())


class SyncPool(_WorkerPool):
    """The connections to a worker's database for sync tests."""

    def __init__(self, url: URL) -> None:
        self.engine = create_engine(url, poolclass=SyncHomePool)
        super().__init__(self.engine)

    def view(self) -> Engine:
        """An engine for the next test."""
        return self._engine_of_test()


def connect_on_use(engine: AsyncEngine) -> AsyncConnection:
    """A connection that needs no ``await`` to be made: it connects in the loop that first uses it.

    SQLAlchemy's Connection does just that when it was invalidated.
    """
    connection = Connection(engine.sync_engine, connection=_NotYet())  # type: ignore[arg-type]
    connection.invalidate()
    return _StartedConnection(engine, connection)


class _StartedConnection(AsyncConnection):
    async def start(self, is_ctxmanager: bool = False) -> AsyncConnection:  # noqa: ARG002, FBT001
        """Let ``async with`` and ``await`` do no harm: they are what one is used to."""
        return self


class _NotYet:
    is_valid = False


def _forget(connection: Any) -> None:
    if hasattr(connection, "run_async"):
        connection.run_async(lambda driver: driver.execute(FORGET))
    else:
        cursor = connection.cursor()
        cursor.execute(FORGET)
        cursor.close()
    connection.commit()


async def _generators_closed() -> None:
    """Let those end that the test dropped: ``async for session in get_session(): .. break``."""
    closing = [
        task
        for task in asyncio.all_tasks()
        if type(task.get_coro()).__name__ == "async_generator_athrow"
    ]
    if closing:
        await asyncio.wait(closing, timeout=1)


def _running_loop() -> Loop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "the async database fixtures were used outside of an asyncio event loop",
            hint="asyncpg needs asyncio: under anyio choose the asyncio backend, not trio",
        ) from None


def _before_close(loop: Loop, last_act: Callable[[], Awaitable[None]]) -> None:
    """Have ``last_act`` run in ``loop`` right before it closes, whoever closes it."""
    close = loop.close

    def close_after() -> None:
        if not loop.is_closed() and not loop.is_running():
            loop.run_until_complete(last_act())
        close()

    loop.close = close_after  # type: ignore[method-assign]


def _run_in(loop: Loop, act: Awaitable[None]) -> None:
    bounded = asyncio.wait_for(act, CLOSE_TIMEOUT)
    if loop.is_running():
        asyncio.run_coroutine_threadsafe(bounded, loop).result(CLOSE_TIMEOUT)
    else:
        loop.run_until_complete(bounded)
