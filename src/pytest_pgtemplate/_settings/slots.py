"""``{slot}`` in ``pg_env``: a number that no other process of this user's runs has."""

from __future__ import annotations

from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING

from pytest_pgtemplate._settings.topics import cache

if TYPE_CHECKING:
    from filelock import BaseFileLock

_leases: list[BaseFileLock] = []  # held until this process ends, also after a kill -9


@lru_cache(1)
def lease_slot() -> int:
    """Lease the smallest free number for the life of this process."""
    from filelock import FileLock, Timeout

    directory = cache() / "slots"
    directory.mkdir(parents=True, exist_ok=True)
    for number in count():
        lock = FileLock(directory / f"{number}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        _leases.append(lock)
        return number
    raise AssertionError("count() does not end")
