"""The recording of a run. Durations are seconds; points in time are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# Kinds of events, in the order in which a worker produces them.
START, COLLECT, SERVER, TEMPLATE = "start", "collect", "server", "template"
BUILD, CLONE, LAYER, RESET, RECLONE, LEAK = "build", "clone", "layer", "reset", "reclone", "leak"
ONCE = (SERVER, TEMPLATE, CLONE)  # the first test of a worker, or its first database test, waits


class Event(NamedTuple):
    """An activity of a worker, between or within its tests."""

    worker: str
    kind: str
    name: str
    start: float
    end: float
    details: dict[str, Any]

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def in_test(self) -> bool:
        """Whether a test waited for it: its time is part of the time of that test."""
        return bool(self.details.get("test"))

    def not_before(self, moment: float) -> Event:
        """Return the part of the event after ``moment``."""
        return self._replace(start=max(self.start, moment), end=max(self.end, moment))


@dataclass(slots=True)
class Test:
    """One test, with the seconds of its phases. ``teardown`` includes ``reset``."""

    __test__ = False

    worker: str
    nodeid: str
    start: float
    setup: float = 0.0
    call: float = 0.0
    teardown: float = 0.0
    reset: float = 0.0
    outcome: str = "passed"
    tables: tuple[str, ...] = ()  # to which the test wrote, according to the reset
    starts: dict[str, float] = field(default_factory=dict)  # start of each phase that ran

    @property
    def module(self) -> str:
        return self.nodeid.partition("::")[0]

    @property
    def seconds(self) -> float:
        return self.setup + self.call + self.teardown

    def phases(self) -> Iterator[tuple[str, float, float]]:
        """Yield each phase with its start and its duration."""
        for phase, start in self.starts.items():
            yield phase, start, getattr(self, phase)


@dataclass
class FixtureSetups:
    """How often each worker set up a fixture for one module, and the total duration."""

    times: dict[str, int] = field(default_factory=dict)  # by worker
    seconds: float = 0.0


@dataclass
class Recording:
    """A run with all its workers."""

    began: float
    ended: float = 0.0
    processors: int = 1
    tests: list[Test] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    # By module and name.
    fixtures: dict[tuple[str, str], FixtureSetups] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)  # names of the server, the template, ..

    @property
    def workers(self) -> list[str]:
        names = {test.worker for test in self.tests} | {event.worker for event in self.events}
        return sorted(names, key=lambda name: (len(name), name))

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def of_kind(self, *kinds: str) -> Iterator[Event]:
        return (event for event in self.events if event.kind in kinds)

    def add_setup(self, module: str, fixture: str, worker: str, seconds: float) -> None:
        """Record that ``worker`` has set up ``fixture`` for a test of ``module``."""
        setups = self.fixtures.setdefault((module, fixture), FixtureSetups())
        setups.times[worker] = setups.times.get(worker, 0) + 1
        setups.seconds += seconds
