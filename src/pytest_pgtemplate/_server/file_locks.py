"""File locks without log records: filelock logs every step at DEBUG."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_pgtemplate._server import clocks

__all__ = ["Timeout", "acquire", "file_lock"]

_silenced_paths: set[str] = set()


def file_lock(path: Path) -> FileLock:
    """Return a lock that is not acquired yet."""
    _silenced_paths.add(str(path))
    # A filter, not a level: the tests may use filelock themselves and check its log.
    logging.getLogger("filelock").addFilter(_is_for_another_lock)
    return FileLock(path)


def acquire(
    lock: FileLock, *, timeout: float, poll_interval: float
) -> AbstractContextManager[object]:
    """Acquire ``lock``; raises Timeout after ``timeout`` seconds. No test can stop the clock."""
    deadline = clocks.monotonic() + timeout
    while True:
        try:
            return lock.acquire(timeout=0)
        except Timeout:
            if clocks.monotonic() > deadline:
                raise
        time.sleep(poll_interval)


def _is_for_another_lock(record: logging.LogRecord) -> bool:
    return _silenced_paths.isdisjoint(map(str, record.args or ()))
