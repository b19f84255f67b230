"""The connections of one event loop, or of sync code.

An asyncpg connection works only in the loop that opened it, so it is also closed there. The plugin
closes what a test leaves open in this order: generators, sessions, transactions, connections. The
code is sync, as in SQLAlchemy: for a loop, it runs in a greenlet.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from pytest_pgtemplate._internals import asyncio as asyncio_internals
from pytest_pgtemplate._internals import pg8000
from pytest_pgtemplate._internals.sqlalchemy import (
    await_only,
    driver_of,
    greenlet_spawn,
)
from pytest_pgtemplate._server import clocks, event_loops

# Per loop; the defaults of SQLAlchemy's QueuePool. A further checkout waits.
MAX_IDLE = 5
MAX_CONNECTIONS = 15
CHECKOUT_TIMEOUT = 30.0  # seconds
GRACEFUL_CLOSE = 1.0  # seconds to close what a test left open; then its connections are invalidated
CHECK_AFTER = 0.5  # seconds; the server may close a connection that is idle for longer
CLOSE_TIMEOUT = 10.0  # seconds for all work in a loop after a test
ACTIVE = 1  # libpq's PQTRANS_ACTIVE: a query is running

# Everything that a session keeps beyond a transaction: DISCARD ALL except cached plans, because
# drivers keep prepared statements across checkouts.
RESET_SESSION = """
    CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; UNLISTEN *;
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES
"""

# Keys in the ``record_info`` of a connection's pool entry.
LISTENERS = "listeners"  # event listeners of the test that opened it
PERMANENT = "permanent"  # RESET_SESSION may not undo what a test has done with it
IDLE_SINCE = "idle since"  # by ``clocks``
RAW = "raw"  # no Connection of SQLAlchemy has it since the checkout: the test uses the driver

# In the ``info`` of a connection: statements that a reset of its session adds.
AFTER_RESET = "pgtemplate_after_reset"

Loop = asyncio.AbstractEventLoop
CheckedOut = ConnectionPoolEntry | PoolProxiedConnection  # the latter: detached from the pool


@dataclass(eq=False)
class LoopPool:
    """The connections of one event loop, or of sync code (``loop`` is None)."""

    loop: Loop | None
    reconnects: bool = True  # whether a Connection that outlives its loop may connect again
    idle: list[ConnectionPoolEntry] = field(default_factory=list)
    # Used by the current test:
    checked_out: dict[CheckedOut, PoolProxiedConnection] = field(default_factory=dict)
    used: set[ConnectionPoolEntry] = field(default_factory=set)
    sessions: WeakSet[Session] = field(default_factory=WeakSet)
    connections: WeakSet[Connection] = field(default_factory=WeakSet)

    def __post_init__(self) -> None:
        semaphore: Any = threading.Semaphore if self.loop is None else asyncio.Semaphore
        self._slots = semaphore(MAX_CONNECTIONS)

    def run(self, action: Callable[[], None]) -> None:
        """Run ``action``, which does I/O over these connections, in their loop."""
        if self.loop is None:
            action()
        else:
            run_with_timeout(self.loop, greenlet_spawn(action))

    def run_before_close(self, action: Callable[[], None]) -> None:
        """Run ``action`` immediately before the loop closes."""
        assert self.loop is not None
        asyncio_internals.run_before_close(self.loop, partial(self.run, action))

    def wait_for_slot(self) -> bool:
        """Take one of MAX_CONNECTIONS slots. False: none became free in time."""
        if self.loop is None:
            return bool(self._slots.acquire(timeout=CHECKOUT_TIMEOUT))
        if not self._slots.locked():
            return bool(await_only(self._slots.acquire()))
        try:
            waiting = event_loops.with_timeout(self._slots.acquire(), CHECKOUT_TIMEOUT)
            return bool(await_only(waiting))
        except TimeoutError:
            return False

    def release_slot(self) -> None:
        self._slots.release()

    def pop_idle(self) -> ConnectionPoolEntry | None:
        try:
            return self.idle.pop()
        except IndexError:
            return None

    def checkin(self, record: ConnectionPoolEntry) -> None:
        if len(self.idle) < MAX_IDLE:
            assert record.record_info is not None
            record.record_info[IDLE_SINCE] = clocks.monotonic()
            self.idle.append(record)
        else:
            record.close()

    def must_check(self, record: ConnectionPoolEntry) -> bool:
        """Whether the connection was idle for so long that the server may have closed it."""
        assert record.record_info is not None
        idle_since: float = record.record_info[IDLE_SINCE]
        return clocks.monotonic() - idle_since > CHECK_AFTER

    def close_idle(self) -> None:
        while record := self.pop_idle():
            record.close()

    def close_open(self) -> None:
        """Close what a test left open, and return its connections."""
        self._close_open(invalidate=False)

    def reset_sessions(self) -> None:
        """Reset the session of each connection that the test has used and returned."""
        self.sessions.clear()
        self.connections.clear()
        for record in self.used:
            _reset(record)
        self.used.clear()

    @property
    def used_and_idle(self) -> list[ConnectionPoolEntry]:
        """The connections that were used since the last reset and have been returned."""
        return [record for record in self.used if record in self.idle]

    def reset_idle_sessions(self) -> None:
        """Reset the session of each connection that was used and has been returned."""
        for record in self.used_and_idle:
            self.idle.remove(record)  # so that no checkout returns it during the reset
            self.used.remove(record)
            try:
                _reset(record)
            finally:
                self.idle.append(record)

    def close(self) -> None:
        """Close all connections. A Connection that a test still holds may reconnect on next use."""
        self._close_open(invalidate=True)
        self.used.clear()
        self.close_idle()

    def _close_open(self, *, invalidate: bool) -> None:
        if self.checked_out:
            try:
                self._run_within(partial(self._close_in_order, invalidate=invalidate))
            except TimeoutError:  # an "async with" of the test blocks, for example
                for record in list(self.checked_out):
                    record.invalidate()
        self.checked_out.clear()
        self.sessions.clear()
        self.connections.clear()

    def _run_within(self, action: Callable[[], None]) -> None:
        if self.loop is None:
            action()
        else:
            await_only(event_loops.with_timeout(greenlet_spawn(action), GRACEFUL_CLOSE))

    def _close_in_order(self, *, invalidate: bool) -> None:
        if self.loop is not None:
            await_only(asyncio_internals.wait_for_closing_generators())
        for record in list(self.checked_out):
            if record.dbapi_connection is not None and cancel(driver_of(record.dbapi_connection)):
                record.invalidate()
        for session in list(self.sessions):
            with suppress(Exception):  # a session in any state; its connection is closed below
                session.close()
        for connection in list(self.connections):
            with suppress(Exception):
                if transaction := connection.get_transaction():
                    transaction.rollback()
                if invalidate and self.reconnects:
                    connection.invalidate()
                elif invalidate:  # its transaction is lost: its next use is an error
                    connection.close()
        for proxy in list(self.checked_out.values()):
            proxy.close()


def cancel(driver: Any) -> bool:
    """Cancel a query that another task or thread runs: drivers would wait for its end.

    Returns whether the connection cannot be used any more: two threads would read its socket.
    """
    info = getattr(driver, "info", None)
    if info is not None and info.transaction_status == ACTIVE:
        driver.cancel()
    elif pg8000.is_busy(driver):
        pg8000.cancel(driver)
        return True
    return False


def _reset(record: ConnectionPoolEntry) -> None:
    """Reset a returned connection, or close it: then the next checkout opens another one."""
    if record.dbapi_connection is None:
        return
    assert record.record_info is not None
    try:
        if record.record_info.keys() & {PERMANENT, RAW}:
            record.close()
        else:
            kept = {AFTER_RESET: record.info[AFTER_RESET]} if AFTER_RESET in record.info else {}
            record.info.clear()
            record.info.update(kept)
            statements = ";".join((RESET_SESSION, *kept.values()))
            execute_in_session(record.dbapi_connection, statements)
    except Exception as error:
        record.invalidate(error)


def execute_in_session(connection: Any, statements: str) -> None:
    """Execute ``statements`` outside of transactions on a connection that is in none."""
    if hasattr(connection, "run_async"):
        connection.run_async(lambda driver: driver.execute(statements))
        connection.commit()
        return
    if hasattr(connection, "pgconn"):
        _execute_with_libpq(connection.pgconn, statements)
        return
    autocommit = connection.autocommit
    connection.autocommit = True  # BEGIN and COMMIT would be round trips of their own
    try:
        cursor = connection.cursor()
        cursor.execute(statements)
        cursor.close()
    finally:
        connection.autocommit = autocommit


def _execute_with_libpq(pgconn: Any, statements: str) -> None:
    """Without a cursor of psycopg, which takes five times as long as the server (0.25 ms)."""
    import psycopg

    result = pgconn.exec_(statements.encode())
    if result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
        raise psycopg.errors.error_from_result(result)


def run_with_timeout(loop: Loop, coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in ``loop`` from any thread. Raises TimeoutError after CLOSE_TIMEOUT."""
    bounded = event_loops.with_timeout(coroutine, CLOSE_TIMEOUT)
    if loop.is_running():  # in another thread
        asyncio.run_coroutine_threadsafe(bounded, loop).result(CLOSE_TIMEOUT)
    else:
        event_loops.run_in_loop(loop, bounded)
