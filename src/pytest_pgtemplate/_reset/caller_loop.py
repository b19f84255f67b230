"""An event loop that runs in the thread that waits for it, and only while it does.

A reset is asked for after every test. To hand it to another thread, and to be woken up by that one,
would take longer than the reset does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from pytest_pgtemplate._server import event_loops

CLOSE_TIMEOUT = 1.0  # seconds for connections to take note that they are closed

T = TypeVar("T")


class CallerLoop:
    """One thread at a time may use it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def run(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        timeout: float,
        while_waiting: Callable[[], None] | None = None,
    ) -> T:
        """Run ``coroutine`` and return its result; call ``while_waiting`` when it waits for I/O.

        Raises TimeoutError after ``timeout`` seconds; the coroutine is cancelled then, as it is
        when the thread is interrupted.
        """
        task = self._loop.create_task(event_loops.with_timeout(coroutine, timeout))
        try:
            if while_waiting is not None:
                event_loops.run_in_loop(
                    self._loop, asyncio.sleep(0)
                )  # as far as to its first statement
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
