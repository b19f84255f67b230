"""Count the connections that this process has open through any SQLAlchemy engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.pool import Pool


class ConnectionCounter:
    """Counts until ``close``. ``peak``: the maximum number of open connections."""

    def __init__(self) -> None:
        self.peak = 0
        self._open: set[int] = set()  # ids, because "connect" can fire twice for a connection
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
