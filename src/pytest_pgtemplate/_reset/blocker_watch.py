"""End the transactions that block a reset, and record them as leaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from pytest_pgtemplate._reset.scripts import read_sql
from pytest_pgtemplate._server import Connection, quote_literal

GRACE = 0.5  # seconds that a reset waits for open transactions before it ends them
POLL_INTERVAL = 0.05  # seconds between queries for blockers


class Leak(NamedTuple):
    """A transaction that a test left open. A reset ended it, or it is ``late``.

    ``late``: no reset waited for it, and it has committed since, during a later test.
    """

    kind: str  # the state of its session, or "prepared transaction"
    pid: int | None
    application: str | None
    age: float  # seconds
    query: str  # the last query, or the name of the prepared transaction
    late: bool = False

    def __str__(self) -> str:
        name = self.application or "unnamed"
        session = f", pid {self.pid}, application {name}" if self.pid else ""
        return f"{self.kind}{session}, {self.age:.1f} s old: {self.query}"


Connect = Callable[[], Coroutine[Any, Any, Connection]]


class BlockerWatch:
    """Watches one reset in backend ``pid``, from construction until ``stop``.

    The reset waits for a lock on the write log. After ``GRACE`` seconds, the watch terminates the
    sessions that hold it, over a second connection. If that fails, it cancels the waiting task.
    """

    def __init__(self, pid: int, connect: Connect) -> None:
        self._pid = pid
        self._connect = connect
        self._waiting = asyncio.current_task()
        self._leaks: dict[int | str, Leak] = {}
        self._end_task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(GRACE, self._begin)

    async def stop(self) -> tuple[Leak, ...]:
        """Stop watching, and return the leaks. Raises the error that kept a blocker alive."""
        self._timer.cancel()
        if self._end_task is not None:
            self._end_task.cancel()
            await asyncio.wait([self._end_task])
            if not self._end_task.cancelled():
                self._end_task.result()
        return tuple(self._leaks.values())

    def _begin(self) -> None:
        self._end_task = asyncio.create_task(self._end_blockers())

    async def _end_blockers(self) -> None:
        try:
            connection = await self._connect()
            try:
                while True:
                    rows = await connection.fetch(read_sql("blockers"), self._pid)
                    found = [Leak(**dict(row)) for row in rows]
                    # Record all first: when a blocker ends, others that waited for it may end, too,
                    # and then the reset continues and cancels this task.
                    for leak in found:
                        self._leaks.setdefault(leak.pid or leak.query, leak)
                    for leak in found:
                        await _end(connection, leak)
                    await asyncio.sleep(POLL_INTERVAL)
            finally:
                connection.terminate()
        except Exception:
            assert self._waiting is not None
            self._waiting.cancel()
            raise


async def _end(connection: Connection, leak: Leak) -> None:
    if leak.pid is None:
        await connection.execute(f"ROLLBACK PREPARED {quote_literal(leak.query)}")
    else:
        await connection.execute(f"SELECT pg_terminate_backend({leak.pid})")
