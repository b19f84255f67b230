"""An engine of the application, for tests that each have an event loop of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakSet

from sqlalchemy import Engine, event, exc
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from pytest_pgtemplate._engines.loop_pool import Loop, run_with_timeout
from pytest_pgtemplate._engines.rollback import limit_lock_waits
from pytest_pgtemplate._internals.asyncio import run_before_close
from pytest_pgtemplate._internals.sqlalchemy import greenlet_spawn
from pytest_pgtemplate.errors import ConfigurationError

_NAME = "pgtemplate_database"  # in ``info`` of a connection: the database that it is connected to


class ApplicationEngine:
    """Closes each connection of an engine in the event loop that opened it.

    An asyncpg connection works only in that loop. So the engine's pool returns only connections of
    the running loop, and the connections of a loop are closed before the loop closes.
    """

    def __init__(
        self, path: str, engine: Engine | AsyncEngine, lock_waits_limited: Callable[[], bool]
    ) -> None:
        self._path = path
        self._engine = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
        self._entries: dict[Loop, WeakSet[ConnectionPoolEntry]] = {}
        self._replaced: dict[Loop, list[Any]] = {}  # connections that another loop found in a pool
        self._database: str | None = None  # the worker's; None: tests have not begun
        if self._engine.dialect.is_async:
            event.listen(self._engine, "connect", self._connected)
            event.listen(self._engine, "checkout", self._checked_out)
        event.listen(self._engine, "checkout", self._require_database)
        limit_lock_waits(self._engine, lock_waits_limited)

    def refuse_other_database(self, database: str) -> None:
        """Raise ConfigurationError if the engine's URL names a database that is not ``database``.

        From now on, each connection raises it, too, if it is connected to another database.
        """
        self._database = database
        if self._engine.url.database:
            self._refuse(self._engine.url.database)

    def _refuse(self, other: str) -> None:
        if other != self._database:
            raise ConfigurationError(
                f'pg_bind: {self._path} connects to the database "{other}", not to'
                f' "{self._database}", the one of this worker',
                hint="list the variable with the application's URL in pg_env, or list a"
                " sessionmaker in pg_bind instead of the engine",
            )

    def end_test(self) -> None:
        """Close idle sync connections. Those of an event loop stay open: tests may share it."""
        if not self._engine.dialect.is_async:
            self._engine.dispose()

    def close(self) -> None:
        """Close all connections, each in its event loop."""
        self.end_test()
        for loop in list(self._entries):
            self._close_in(loop)

    def _connected(self, _: Any, entry: ConnectionPoolEntry) -> None:
        loop = asyncio.get_running_loop()
        entry.info["pgtemplate_loop"] = loop
        if loop not in self._entries:
            self._entries[loop], self._replaced[loop] = WeakSet(), []
            run_before_close(loop, partial(self._close_and_remove, loop))
        self._entries[loop].add(entry)

    def _checked_out(
        self, connection: Any, entry: ConnectionPoolEntry, proxy: PoolProxiedConnection
    ) -> None:
        opened_in = entry.info.get("pgtemplate_loop")
        if opened_in is None or opened_in is asyncio.get_running_loop():
            return
        if opened_in in self._entries:
            self._entries[opened_in].discard(entry)
            self._replaced[opened_in].append(connection)
        # As SQLAlchemy's documentation does with connections that a fork has inherited.
        entry.dbapi_connection = proxy.dbapi_connection = None  # type: ignore[misc]
        raise exc.DisconnectionError("the connection was opened in another event loop")

    def _require_database(
        self, connection: Any, entry: ConnectionPoolEntry, _: PoolProxiedConnection
    ) -> None:
        """Ask once per connection: ``connect_args``, ``creator`` or libpq may name the database."""
        if self._database is None:
            return
        if _NAME not in entry.info:
            cursor = connection.cursor()
            cursor.execute("SELECT current_database()")
            [entry.info[_NAME]] = cursor.fetchone()
            cursor.close()
            connection.rollback()
        self._refuse(entry.info[_NAME])

    def _close_and_remove(self, loop: Loop) -> None:
        try:
            self._close_in(loop)
        finally:
            del self._entries[loop], self._replaced[loop]

    def _close_in(self, loop: Loop) -> None:
        if self._entries[loop] or self._replaced[loop]:
            run_with_timeout(loop, greenlet_spawn(self._close_connections, loop))

    def _close_connections(self, loop: Loop) -> None:
        for entry in list(self._entries[loop]):
            entry.invalidate()
        for connection in self._replaced[loop]:
            connection.close()
        self._entries[loop].clear()
        self._replaced[loop].clear()
