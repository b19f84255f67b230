"""Run a coroutine from sync code, independently of the event loop of the test.

All admin connections (asyncpg) live in one thread with its own loop, started on first use.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

from pytest_pgtemplate._server import event_loops, forks

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], *, timeout: float) -> T:
    """Run ``coroutine`` in the private loop and return its result.

    Raises TimeoutError after ``timeout`` seconds. A timeout, or Ctrl-C in the waiting thread,
    cancels the coroutine.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result(timeout)
    except BaseException:
        future.cancel()
        raise


class _Portal:
    def after_fork(self) -> None:
        _loop.cache_clear()  # its thread is not there


_portal = _Portal()
forks.register(_portal)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = event_loops.EventLoop()
    threading.Thread(target=loop.run_forever, name="pgtemplate-portal", daemon=True).start()
    return loop
