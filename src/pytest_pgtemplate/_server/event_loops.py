"""Event loops of the plugin, and timeouts that work even if a test has stopped the clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pytest_pgtemplate._server import clocks

SAME_CLOCK = 1.0  # seconds: a loop whose time differs by less uses the real clock

T = TypeVar("T")


class EventLoop(asyncio.SelectorEventLoop):
    """A loop whose timeouts also end if a test has stopped the clock (freezegun)."""

    def time(self) -> float:
        return clocks.monotonic()


def run_in_loop(loop: asyncio.AbstractEventLoop, until: Any) -> Any:
    """Run ``loop`` until the task or coroutine is done, and return its result."""
    if not _in_a_loop():
        return loop.run_until_complete(until)
    with ThreadPoolExecutor(1) as thread:  # asyncio allows one running loop per thread
        return thread.submit(loop.run_until_complete, until).result()


async def with_timeout(coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
    """Await ``coroutine``. Raises TimeoutError after ``seconds``, in any loop."""
    loop = asyncio.get_running_loop()
    if abs(loop.time() - clocks.monotonic()) < SAME_CLOCK:
        # Not wait_for: on Python 3.11 it runs the coroutine in another task.
        async with asyncio.timeout(seconds):
            return await coroutine
    async with asyncio.timeout(None) as never:
        end = loop.call_soon_threadsafe, [never.reschedule, float("-inf")]
        timer = threading.Timer(seconds, *end)
        timer.daemon = True
        timer.start()
        try:
            return await coroutine
        finally:
            timer.cancel()


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
