"""Internals of SQLAlchemy, tested with 2.0.25 to 2.1.9."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection

# The plugin closes sessions and connections in sync code, which must run in a greenlet of the loop.
# The public AsyncConnection.run_sync needs a working connection. It is based on these functions,
# which the documentation lists for authors of dialects.
from sqlalchemy.util import await_only, greenlet_spawn

__all__ = [
    "CustomPool",
    "EngineListeners",
    "await_only",
    "connect_on_use",
    "driver_of",
    "greenlet_spawn",
    "override_transactions",
    "share_events",
    "sync_engine_of_frame",
    "watch_driver_connections",
]

_INTERNAL = ("sqlalchemy.", "pytest_pgtemplate.")  # modules


class CustomPool(Pool):
    """A pool whose subclasses choose the connection for a checkout.

    Each public pool class has one queue for all event loops, and an asyncpg connection works only
    in the loop that opened it. So the two methods are overridden that every pool of SQLAlchemy's
    overrides, ``_do_get`` and ``_do_return_conn``; ``_create_connection`` is what they call.
    ``_is_asyncio``: whether closing a connection requires ``await``.
    """

    # Logs nothing unless it is enabled, like the loggers of SQLAlchemy's own pools.
    _sqla_logger_namespace = "sqlalchemy.pool.pgtemplate"

    def checkout_entry(self) -> ConnectionPoolEntry:
        raise NotImplementedError

    def checkin_entry(self, entry: ConnectionPoolEntry) -> None:
        raise NotImplementedError

    def new_entry(self) -> ConnectionPoolEntry:
        return self._create_connection()

    def invalidate_unless_alive(self, entry: ConnectionPoolEntry) -> None:
        """Let the checkout of ``entry`` connect again if its connection is closed.

        The public ``pool_pre_ping`` would check each checkout, by this method of the dialect.
        """
        dialect: Any = self._dialect
        if entry.dbapi_connection is not None:
            try:
                dialect.do_ping(entry.dbapi_connection)
            except Exception as error:
                entry.invalidate(error)

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
        # The dispatch of pool and dialect with the listeners from before the first test: those of
        # the plugin and of the dialect. None until then.
        self._ours: Any = None
        self._ours_of_dialect: Any = None
        self._our_listeners: list[list[Any]] = []  # of both

    def engine_for_test(self) -> Engine:
        """An engine over the same pool that only our own listeners listen to."""
        if self._ours is None:
            self._ours = self._pool.dispatch
            self._ours_of_dialect = self._dialect.dispatch
            self._our_listeners = self._current_listeners()
            self._restore()
        elif self._current_listeners() != self._our_listeners:
            self._restore()
        return self._engine.execution_options()

    def _current_listeners(self) -> list[list[Any]]:
        return _listeners(self._pool.dispatch) + _listeners(self._dialect.dispatch)

    def _restore(self) -> None:
        for target in (self._pool, self._dialect):
            vars(target).pop("dispatch", None)
        self._pool.dispatch._update(self._ours, only_propagate=False)
        self._dialect.dispatch._update(self._ours_of_dialect, only_propagate=False)

    def call_connect_listeners(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        """Call "connect" listeners for a connection that an earlier test opened.

        A reset has undone what the listeners of that test did. The listeners of this test and of
        classes (``listens_for(Engine, "connect")``) are called, but not those of the plugin and of
        the dialect, which are the listeners of this engine before the first test.
        """
        ours = list(self._ours.connect.listeners)
        for listener in list(self._pool.dispatch.connect):
            if listener not in ours:
                listener(connection, entry)

    def connection_listeners(self) -> tuple[object, ...]:
        """The test's listeners that get a connection of the driver, comparable from test to test.

        A fixture that adds a listener makes a new function for every test; its code and its closure
        are the same.
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
    """Let the present and future listeners of ``other`` listen to ``engine`` as well.

    ``Engine.execution_options`` has made ``engine``, and joined its ``dispatch`` to that of the
    original in the same way.
    """
    copy: Any = engine
    copy.dispatch = copy.dispatch.local._join(copy.dispatch.parent._join(other.dispatch))
    copy._has_events = True  # for connections that are made before a listener is added
    return engine


def _identity(listener: Any) -> object:
    code, cells = getattr(listener, "__code__", None), getattr(listener, "__closure__", None)
    return listener if code is None else (code, *(cell.cell_contents for cell in cells or ()))


def watch_driver_connections(
    engine: Engine, taken: Callable[[PoolProxiedConnection], None]
) -> None:
    """Call ``taken`` when code other than SQLAlchemy's takes the connection of a ``Connection``.

    There is no event for that, and SQLAlchemy uses the public property ``Connection.connection``
    itself, so the class of each new connection becomes a subclass that looks at the caller.
    ``AsyncConnection.get_raw_connection`` reads the property in a new greenlet, without a caller.
    """

    class Watched(Connection):
        @property
        def connection(self) -> PoolProxiedConnection:
            proxy = super().connection
            caller = sys._getframe().f_back
            if caller is None or not caller.f_globals.get("__name__", "").startswith(_INTERNAL):
                taken(proxy)
            return proxy

    for name in ("__name__", "__qualname__", "__module__"):
        setattr(Watched, name, getattr(Connection, name))

    def watch(connection: Connection) -> None:
        connection.__class__ = Watched

    event.listen(engine, "engine_connect", watch)


def sync_engine_of_frame(frame: FrameType) -> Engine | None:
    """Return the engine that executes ``frame``, or None if it belongs to an ``AsyncEngine``.

    ``AsyncEngine.sync_engine`` is public, but nothing public leads from the engine to it.
    """
    engine = frame.f_locals.get("self")
    if engine is None or not issubclass(type(engine), Engine):  # lazy objects: see asyncio.py
        return None
    user = AsyncEngine._retrieve_proxy_for_target(engine, regenerate=False)
    return engine if user is None else None


def driver_of(connection: Any) -> Any:
    """The driver's connection behind SQLAlchemy's adapter, if it has one."""
    return connection._connection if isinstance(connection, AdaptedConnection) else connection


def _listeners(dispatch: Any) -> list[list[Any]]:
    return [list(listeners) for listeners in dispatch._event_descriptors]


def connect_on_use(engine: AsyncEngine) -> AsyncConnection:
    """A connection that needs no ``await`` to be made: it connects in the loop that first uses it.

    ``AsyncEngine.connect()`` has to be awaited in the test's loop, and a sync fixture has none. It
    is public that an invalidated ``Connection`` connects again, but there is no public way to make
    one without a connection of the pool.
    """
    connection = Connection(engine.sync_engine, connection=_Unconnected())  # type: ignore[arg-type]
    connection.invalidate()
    return _StartedConnection(engine, connection)


class _StartedConnection(AsyncConnection):
    async def start(self, is_ctxmanager: bool = False) -> AsyncConnection:  # noqa: ARG002
        """Let users write ``async with`` and ``await`` as for any connection."""
        return self


class _Unconnected:
    """What ``Connection.invalidate`` reads of the pool's connection: there is nothing to close."""

    is_valid = False
    record_info = None


def override_transactions(
    engine: Engine,
    begin: Callable[[Any], None],
    commit: Callable[[Any], None],
    rollback: Callable[[Any, Callable[[Any], None]], None],
    refuse_isolation_level: Callable[[Any, Any], None],
) -> None:
    """Let the engine begin, commit and roll back with these functions of a DBAPI connection.

    ``rollback`` gets the original one, too. ``refuse_isolation_level`` also gets the level. It is
    called before the level is set, because some drivers then roll back. The events "begin",
    "commit" and "rollback" are public, but cannot replace what SQLAlchemy does. A dialect's
    ``do_*`` methods are documented for authors of dialects; here they are replaced on one instance.
    """
    dialect: Any = engine.dialect
    original: Callable[[Any], None] = dialect.do_rollback
    dialect.do_begin, dialect.do_commit = begin, commit
    dialect.do_rollback = lambda connection: rollback(connection, original)
    set_isolation_level = dialect.set_isolation_level

    def set_unless_refused(connection: Any, level: Any) -> None:
        refuse_isolation_level(connection, level)
        set_isolation_level(connection, level)

    dialect.set_isolation_level = set_unless_refused
