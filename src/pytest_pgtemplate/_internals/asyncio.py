"""Internals of asyncio, tested with CPython 3.11 to 3.14."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import FrameType

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


def running_loop_of_frame(frame: FrameType) -> Loop | None:
    """The event loop that ``frame`` runs, which is ``run_until_complete`` or ``Runner.run``.

    A traceback outlives the moment in which ``get_running_loop`` would tell. The loop of a
    ``Runner`` is looked at without ``get_loop``, which would create one. uvloop's own frames have
    no local variables.
    """
    runner = frame.f_locals.get("self")
    if isinstance(runner, asyncio.Runner):
        runner = getattr(runner, "_loop", None)
    return runner if isinstance(runner, Loop) else None
