"""Internals of asyncio, tested with CPython 3.11 to 3.14."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import FrameType

Loop = asyncio.AbstractEventLoop


def run_before_close(loop: Loop, act: Callable[[], None]) -> None:
    """Call ``act`` immediately before ``loop`` closes, also if other code closes it.

    asyncio has no callback before a loop closes, and pytest-asyncio, anyio and
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
    """Wait until the async generators that the test dropped have ended.

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

    When pytest has the traceback, the loop no longer runs, so ``get_running_loop`` does not help.
    ``Runner.get_loop`` would create a loop. uvloop's own frames have no local variables.
    """
    runner = frame.f_locals.get("self")
    # issubclass: isinstance() would evaluate the __class__ of a lazy object of the user.
    if issubclass(type(runner), asyncio.Runner):
        runner = getattr(runner, "_loop", None)
    return runner if issubclass(type(runner), Loop) else None
