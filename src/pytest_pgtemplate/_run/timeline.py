"""Record what this process did and when, as plain lists that JSON and xdist can transport."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytest_pgtemplate._internals.clocks import WallClock

Event = tuple[str, str, float, float, dict[str, Any]]  # kind, name, start, end, details


class Timeline:
    """The events since the last ``take``. Times are seconds since the epoch.

    ``clock``: pytest's reports have the times of ``time.time()``, which tests may change.
    """

    def __init__(self) -> None:
        self.clock = WallClock()
        self._events: list[Event] = []

    def add(self, kind: str, name: str, seconds: float, **details: object) -> None:
        """Add an event that has just ended after ``seconds``."""
        end = self.clock.now()
        self._events.append((kind, name, end - seconds, end, details))

    @contextmanager
    def during(self, kind: str, name: str = "") -> Iterator[None]:
        """Add an event for the body of the ``with`` statement, also if it raises."""
        began = self.clock.now()
        try:
            yield
        finally:
            self.add(kind, name, self.clock.now() - began)

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events
