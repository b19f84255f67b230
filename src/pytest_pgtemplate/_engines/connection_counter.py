"""How many connections this process has open, through any engine of SQLAlchemy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.pool import Pool


class ConnectionCounter:
    """Counts from its making until ``close``; ``peak`` is the most that were open at once."""

    def __init__(self) -> None:
        self.peak = 0
        self._open: set[int] = set()  # that a connection is new may be told more than once
        self._listeners: dict[str, Callable[..., None]] = {
            "connect": self._opened,
            "close": self._closed,
            "close_detached": self._closed,
        }
        for name, listener in self._listeners.items():
            event.listen(Pool, name, listener)

    def close(self) -> None:
        for name, listener in self._listeners.items():
            event.remove(Pool, name, listener)

    def _opened(self, connection: Any, _: object) -> None:
        self._open.add(id(connection))
        self.peak = max(self.peak, len(self._open))

    def _closed(self, connection: Any, *_: object) -> None:
        self._open.discard(id(connection))
