"""Run an event loop in the thread that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_in_loop(loop: asyncio.AbstractEventLoop, until: Any) -> Any:
    """The result of a task or coroutine of ``loop``, which runs no longer than that."""
    if not _in_a_loop():
        return loop.run_until_complete(until)
    with ThreadPoolExecutor(1) as other:  # a thread runs one loop at a time
        return other.submit(loop.run_until_complete, until).result()


async def with_timeout(coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
    """Raises TimeoutError after ``seconds``."""
    async with asyncio.timeout(seconds):  # in this task: wait_for makes another
        return await coroutine


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
