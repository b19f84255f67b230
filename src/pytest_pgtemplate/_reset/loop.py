"""An event loop that runs in the thread that waits for it, and only while it does.

A reset is asked for after every test. To hand it to another thread, and to be woken up by that one,
would take longer than the reset does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

GOODBYE = 1.0  # seconds for connections to take note that they are closed

T = TypeVar("T")


class Loop:
    """One thread at a time may use it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def run(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        timeout: float,
        meanwhile: Callable[[], None] | None = None,
    ) -> T:
        """Run ``coroutine`` and return its result; ``meanwhile`` runs once it waits for the server.

        Raises TimeoutError after ``timeout`` seconds; the coroutine is cancelled then, as it is
        when the thread is interrupted.
        """
        task = self._loop.create_task(_bounded(coroutine, timeout))
        try:
            if meanwhile is not None:
                self._go_on(asyncio.sleep(0))  # as far as to its first statement
                meanwhile()
            result: T = self._go_on(task)
            return result
        except BaseException:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    self._go_on(task)
            raise

    @property
    def closed(self) -> bool:
        return self._loop.is_closed()

    def close(self) -> None:
        self.run(asyncio.sleep(0), timeout=GOODBYE)
        self._loop.close()

    def _go_on(self, until: Any) -> Any:
        if not _in_a_loop():
            return self._loop.run_until_complete(until)
        with ThreadPoolExecutor(1) as other:  # a thread runs one loop at a time
            return other.submit(self._loop.run_until_complete, until).result()


async def _bounded(coroutine: Coroutine[Any, Any, T], timeout: float) -> T:
    async with asyncio.timeout(timeout):
        return await coroutine


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
