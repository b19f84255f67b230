"""Internals of asyncio, tested with CPython 3.11 to 3.14."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Loop = asyncio.AbstractEventLoop


def run_before_close(loop: Loop, act: Callable[[], None]) -> None:
    """Call ``act`` as the last thing before ``loop`` closes, whoever closes it.

    No callback or policy tells that a loop is about to close, and pytest-asyncio, anyio and
    ``asyncio.run`` each close loops of their own. So ``close`` is replaced on the instance.
    """
    close = loop.close

    def close_after() -> None:
        try:
            if not loop.is_closed() and not loop.is_running():
                act()
        finally:
            close()

    loop.close = close_after  # type: ignore[method-assign]


async def wait_for_closing_generators() -> None:
    """Wait until the async generators end that the test dropped.

    After ``async for session in get_session(): .. break`` the loop closes the generator in a task
    of its own. ``loop.shutdown_asyncgens`` would close those that are still in use, too. The tasks
    can only be recognised by the type of their coroutine.
    """
    closing = [
        task
        for task in asyncio.all_tasks()
        if type(task.get_coro()).__name__ == "async_generator_athrow"
    ]
    if closing:
        await asyncio.wait(closing)
