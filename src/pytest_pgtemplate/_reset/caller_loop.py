"""An event loop that runs in the calling thread, and only during a call.

A reset runs after every test. Two thread switches to the ``portal`` would take longer than the
reset itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from pytest_pgtemplate._server import event_loops

CLOSE_TIMEOUT = 1.0  # seconds for the callbacks of closed connections

T = TypeVar("T")


class CallerLoop:
    """Runs coroutines in the calling thread. Only one thread at a time may use it."""

    def __init__(self) -> None:
        self._loop = event_loops.EventLoop()

    def run(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        timeout: float,
        while_waiting: Callable[[], None] | None = None,
    ) -> T:
        """Run ``coroutine`` and return its result; call ``while_waiting`` during its first I/O.

        Raises TimeoutError after ``timeout`` seconds. A timeout or Ctrl-C cancels the coroutine.
        """
        task = self._loop.create_task(event_loops.with_timeout(coroutine, timeout))
        try:
            if while_waiting is not None:
                # One iteration of the loop: the task sends its first statement.
                event_loops.run_in_loop(self._loop, asyncio.sleep(0))
                while_waiting()
            result: T = event_loops.run_in_loop(self._loop, task)
            return result
        except BaseException:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    event_loops.run_in_loop(self._loop, task)
            raise

    @property
    def closed(self) -> bool:
        return self._loop.is_closed()

    def close(self) -> None:
        self.run(asyncio.sleep(0), timeout=CLOSE_TIMEOUT)
        self._loop.close()
