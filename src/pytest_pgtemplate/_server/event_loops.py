"""Run an event loop in the thread that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_in_loop(loop: asyncio.AbstractEventLoop, until: Any) -> Any:
    """Run ``loop`` until the task or coroutine is done, and return its result."""
    if not _in_a_loop():
        return loop.run_until_complete(until)
    with ThreadPoolExecutor(1) as thread:  # asyncio allows one running loop per thread
        return thread.submit(loop.run_until_complete, until).result()


async def with_timeout(coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
    """Await ``coroutine``. Raises TimeoutError after ``seconds``."""
    # Not wait_for: on Python 3.11 it runs the coroutine in another task.
    async with asyncio.timeout(seconds):
        return await coroutine


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
