"""File locks: they keep quiet, where filelock logs each step for whoever has a log at DEBUG."""

from __future__ import annotations

import logging
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["Timeout", "file_lock"]

_ours: set[str] = set()


def file_lock(path: Path, timeout: float) -> FileLock:
    """A lock that waits for ``timeout`` seconds, or without end if that is below 0."""
    _ours.add(str(path))
    logging.getLogger("filelock").addFilter(_is_of_others)
    return FileLock(path, timeout=timeout)


def _is_of_others(record: logging.LogRecord) -> bool:
    return _ours.isdisjoint(map(str, record.args or ()))
