"""Internals of SQLAlchemy, tested with 2.0.25 to 2.1.9."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    async_scoped_session,
    async_sessionmaker,
)
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry, Pool

# The plugin closes sessions and connections in sync code, which must run in a greenlet of the loop.
# The public AsyncConnection.run_sync needs a working connection. It is based on these functions,
# which the documentation lists for authors of dialects.
from sqlalchemy.util import ScopedRegistry, ThreadLocalRegistry, await_only, greenlet_spawn

__all__ = [
    "CustomPool",
    "DriverConnections",
    "EngineListeners",
    "await_only",
    "connect_on_use",
    "driver_of",
    "empty_registry",
    "greenlet_spawn",
    "override_transactions",
    "run_in_driver",
    "sessionmaker_keywords",
    "share_events",
]


class CustomPool(Pool):
    """A pool whose subclasses choose the connection for a checkout.

    Each public pool class has one queue for all event loops, and an asyncpg connection works only
    in the loop that opened it. So the two methods are overridden that every pool of SQLAlchemy's
    overrides, ``_do_get`` and ``_do_return_conn``; ``_create_connection`` is what they call.
    ``_is_asyncio``: whether closing a connection requires ``await``.
    """

    # Quiet unless asked for, like the loggers of SQLAlchemy's own pools.
    _sqla_logger_namespace = "sqlalchemy.pool.pgtemplate"

    def checkout_entry(self) -> ConnectionPoolEntry:
        raise NotImplementedError

    def checkin_entry(self, entry: ConnectionPoolEntry) -> None:
        raise NotImplementedError

    def new_entry(self) -> ConnectionPoolEntry:
        return self._create_connection()

    def _do_get(self) -> ConnectionPoolEntry:
        return self.checkout_entry()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        self.checkin_entry(record)


class EngineListeners:
    """Removes the event listeners that a test added to an engine.

    ``event.remove`` needs the function that was added, and nothing public lists the listeners. So
    the ``dispatch`` of pool and dialect, which SQLAlchemy creates again when it is missing, is
    deleted and filled with the plugin's listeners. The engine's own events belong to a copy that
    ``Engine.execution_options`` makes for each test, which is public.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pool: Any = engine.pool
        self._dialect: Any = engine.dialect
        self._ours: Any = None  # the dispatch that we filled, before the first test listens

    def engine_for_test(self) -> Engine:
        """An engine over the same pool that only our own listeners listen to."""
        if self._ours is None:
            self._ours = self._pool.dispatch
            self._restore()
        elif _listeners(self._pool.dispatch) != _listeners(self._ours) or any(
            _listeners(self._dialect.dispatch)  # we do not listen to the dialect
        ):
            self._restore()
        return self._engine.execution_options()

    def _restore(self) -> None:
        for target in (self._pool, self._dialect):
            vars(target).pop("dispatch", None)
        self._pool.dispatch._update(self._ours, only_propagate=False)

    def call_connect_listeners(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        """Call the "connect" listeners of the test for a connection that an earlier test opened."""
        for listener in list(self._pool.dispatch.connect):
            if listener not in self._ours.connect:
                listener(connection, entry)

    def connection_listeners(self) -> tuple[object, ...]:
        """The test's listeners that get a connection of the driver, comparable from test to test.

        A fixture that adds a listener makes a new function for every test; its code and what it has
        closed over are the same.
        """
        events = ("first_connect", "connect", "checkout", "checkin", "reset")
        found = [
            listener
            for name in events
            for listener in getattr(self._pool.dispatch, name)
            if listener not in getattr(self._ours, name)
        ]
        return tuple(map(_identity, [*found, *self._dialect.dispatch.do_connect]))


def share_events(engine: Engine, other: Engine) -> Engine:
    """Let what listens to ``other``, from now on or later, listen to ``engine`` as well.

    ``Engine.execution_options`` has made ``engine``, and joined its ``dispatch`` to that of the
    original in the same way.
    """
    copy: Any = engine
    copy.dispatch = copy.dispatch.local._join(copy.dispatch.parent._join(other.dispatch))
    copy._has_events = True  # for connections that are made before somebody listens
    return engine


def _identity(listener: Any) -> object:
    code, cells = getattr(listener, "__code__", None), getattr(listener, "__closure__", None)
    return listener if code is None else (code, *(cell.cell_contents for cell in cells or ()))


class DriverConnections:
    """Knows which connections of the driver somebody has got out of SQLAlchemy's.

    There is no event for that. ``Dialect.get_driver_connection`` is documented for authors of
    dialects, and called for every ``driver_connection``; it is replaced on the instance. An adapted
    async connection gives the driver's away itself, too: it becomes an instance of a subclass.
    """

    def __init__(self, engine: Engine) -> None:
        dialect: Any = engine.dialect
        original = dialect.get_driver_connection
        self._taken: set[int] = set()

        def get_driver_connection(connection: Any) -> Any:
            self._taken.add(id(connection))
            return original(connection)

        dialect.get_driver_connection = get_driver_connection

    def watch(self, connection: Any) -> None:
        """Notice if somebody takes the driver's connection out of this one, which is new."""
        self._taken.discard(id(connection))
        if isinstance(connection, AdaptedConnection):
            connection.__class__ = _watched(type(connection), self._taken.add)

    def taken(self, connection: Any) -> bool:
        return id(connection) in self._taken


def _watched(adapter: Any, take: Callable[[int], None]) -> Any:
    class Watched(adapter):  # type: ignore[misc]
        __slots__ = ()

        @property
        def driver_connection(self) -> Any:
            take(id(self))
            return self._connection

        def run_async(self, act: Any) -> Any:
            take(id(self))
            return super().run_async(act)

    Watched.__name__, Watched.__qualname__ = adapter.__name__, adapter.__qualname__
    return Watched


def run_in_driver(connection: Any, act: Callable[[Any], Any]) -> Any:
    """Run ``act`` with the driver's connection of an adapted one, without taking it."""
    return AdaptedConnection.run_async(connection, act)


def driver_of(connection: Any) -> Any:
    """The driver's connection, without taking it."""
    return connection._connection if isinstance(connection, AdaptedConnection) else connection


def _listeners(dispatch: Any) -> list[list[Any]]:
    return [list(listeners) for listeners in dispatch._event_descriptors]


def connect_on_use(engine: AsyncEngine) -> AsyncConnection:
    """A connection that needs no ``await`` to be made: it connects in the loop that first uses it.

    ``AsyncEngine.connect()`` has to be awaited in the test's loop, and a sync fixture has none. A
    ``Connection`` connects again when it was invalidated, which is public; only making one without
    a connection of the pool is not.
    """
    connection = Connection(engine.sync_engine, connection=_Unconnected())  # type: ignore[arg-type]
    connection.invalidate()
    return _StartedConnection(engine, connection)


class _StartedConnection(AsyncConnection):
    async def start(self, is_ctxmanager: bool = False) -> AsyncConnection:  # noqa: ARG002
        """Let users write ``async with`` and ``await`` as for any connection."""
        return self


class _Unconnected:
    is_valid = False


def override_transactions(
    engine: Engine,
    begin: Callable[[Any], None],
    commit: Callable[[Any], None],
    rollback: Callable[[Any, Callable[[Any], None]], None],
) -> None:
    """Let the engine begin, commit and roll back with these functions of a DBAPI connection.

    ``rollback`` gets the original one, too. The events "begin", "commit" and "rollback" are public,
    but cannot replace what SQLAlchemy does. A dialect's ``do_*`` methods are documented for authors
    of dialects; replacing them on one instance is ours.
    """
    dialect: Any = engine.dialect
    original: Callable[[Any], None] = dialect.do_rollback
    dialect.do_begin, dialect.do_commit = begin, commit
    dialect.do_rollback = lambda connection: rollback(connection, original)


AnySessionmaker = sessionmaker[Any] | async_sessionmaker[Any]
AnyScopedSession = scoped_session[Any] | async_scoped_session[Any]


@contextmanager
def sessionmaker_keywords(maker: AnySessionmaker, fixed: Mapping[str, Any]) -> Iterator[None]:
    """Let a sessionmaker use the keywords ``fixed``, also if the application configures it again.

    ``configure(bind=..)`` is public, but nothing public removes a keyword or reads the present one,
    and an application that calls it when it starts would undo ours. So ``kw`` is replaced, the
    dictionary that ``configure`` updates and that each session is made from.
    """
    own: dict[str, Any] = maker.kw
    maker.kw = _FixedKeywords(own, fixed)
    try:
        yield
    finally:
        maker.kw = own


class _FixedKeywords(dict[str, Any]):
    """The keywords of the application, with some that it cannot change now."""

    def __init__(self, own: dict[str, Any], fixed: Mapping[str, Any]) -> None:
        super().__init__({**own, **fixed})
        self._own, self._fixed = own, fixed

    def update(self, *given: Any, **keywords: Any) -> None:
        self._own.update(*given, **keywords)
        super().update({**self._own, **self._fixed})


@contextmanager
def empty_registry(scoped: AnyScopedSession) -> Iterator[None]:
    """Let a scoped session begin without sessions, and forget those that it has made.

    ``remove`` is public, but it removes the session of one scope only: of this thread or task.
    """
    own: Any = scoped.registry
    if isinstance(own, ThreadLocalRegistry):
        scoped.registry = ThreadLocalRegistry(own.createfunc)
    else:
        scoped.registry = ScopedRegistry(own.createfunc, own.scopefunc)
    try:
        yield
    finally:
        scoped.registry = own
