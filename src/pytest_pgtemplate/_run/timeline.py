"""Record what this process did and when, as plain lists that JSON and xdist can transport."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Event = tuple[str, str, float, float, dict[str, Any]]  # kind, name, start, end, details


class Timeline:
    """The events since the last ``take``. Times are ``time.time()``, as in pytest's reports."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def add(self, kind: str, name: str, seconds: float, **details: object) -> None:
        """Add an event that has just ended after ``seconds``."""
        end = time.time()
        self._events.append((kind, name, end - seconds, end, details))

    @contextmanager
    def during(self, kind: str, name: str = "") -> Iterator[None]:
        """Add an event for the body of the ``with`` statement, also if it raises."""
        began = time.time()
        try:
            yield
        finally:
            self.add(kind, name, time.time() - began)

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events
