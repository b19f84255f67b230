"""File locks without log records: filelock logs every step at DEBUG."""

from __future__ import annotations

import logging
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["Timeout", "file_lock"]

_silenced_paths: set[str] = set()


def file_lock(path: Path, timeout: float) -> FileLock:
    """Return a lock that waits for ``timeout`` seconds, or for ever if that is below 0."""
    _silenced_paths.add(str(path))
    # A filter, not a level: the tests may use filelock themselves and check its log.
    logging.getLogger("filelock").addFilter(_is_for_another_lock)
    return FileLock(path, timeout=timeout)


def _is_for_another_lock(record: logging.LogRecord) -> bool:
    return _silenced_paths.isdisjoint(map(str, record.args or ()))
