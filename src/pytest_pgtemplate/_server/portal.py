"""Run a coroutine from sync code, independently of the event loop of the test.

All admin connections (asyncpg) live in one thread with its own loop, started on first use.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

from pytest_pgtemplate._server import event_loops, forks
from pytest_pgtemplate.errors import ConfigurationError

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], *, timeout: float) -> T:
    """Run ``coroutine`` in the private loop and return its result.

    Raises TimeoutError after ``timeout`` seconds. A timeout, or Ctrl-C in the waiting thread,
    cancels the coroutine.
    """
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    except BaseException:
        coroutine.close()  # otherwise Python warns that it was never awaited
        raise
    try:
        return future.result(timeout)
    except BaseException:
        future.cancel()
        raise


class _Portal:
    def after_fork(self) -> None:
        _loop.cache_clear()  # its thread does not exist in the child


_portal = _Portal()
forks.register(_portal)


def _refuse_gevent() -> None:
    """Raise ConfigurationError if gevent has replaced what an event loop in a thread needs."""
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey is not None and any(map(monkey.is_module_patched, ("threading", "select"))):
        raise ConfigurationError(
            "gevent has patched threads or select, so asyncio cannot run in a thread of its own",
            hint="call monkey.patch_all(thread=False, select=False) in tests",
        )


@cache
def _loop() -> asyncio.AbstractEventLoop:
    _refuse_gevent()
    loop = event_loops.EventLoop()
    threading.Thread(target=loop.run_forever, name="pgtemplate-portal", daemon=True).start()
    return loop
