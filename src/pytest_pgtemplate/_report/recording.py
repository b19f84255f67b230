"""What is known of a run. Times are seconds, moments those of ``time.time``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# Of events, in the order of a worker's life.
START, COLLECT, SERVER, TEMPLATE, BUILD, CLONE = (
    *("start", "collect", "server", "template", "build", "clone"),
)
LAYER, RESET, RECLONE, LEAK = "layer", "reset", "reclone", "leak"
ONCE = (SERVER, TEMPLATE, CLONE)  # what a worker's first database test waits for; BUILD is within


class Event(NamedTuple):
    """Something that a worker did beside its tests, or within one of them."""

    worker: str
    kind: str
    name: str
    start: float
    end: float
    details: dict[str, Any]

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(slots=True)
class Test:
    """One test: ``setup``, ``call`` and ``teardown`` in seconds, ``reset`` within the last."""

    __test__ = False

    worker: str
    nodeid: str
    start: float
    setup: float = 0.0
    call: float = 0.0
    teardown: float = 0.0
    reset: float = 0.0
    outcome: str = "passed"
    tables: tuple[str, ...] = ()  # those that it wrote to, as the reset found
    starts: dict[str, float] = field(default_factory=dict)  # of its phases, as far as it came

    @property
    def module(self) -> str:
        return self.nodeid.partition("::")[0]

    @property
    def seconds(self) -> float:
        return self.setup + self.call + self.teardown

    def phases(self) -> Iterator[tuple[str, float, float]]:
        """Each with its start, and how long it took."""
        for phase, start in self.starts.items():
            yield phase, start, getattr(self, phase)


@dataclass
class FixtureSetups:
    """How often a fixture was set up for one module after another, by each worker."""

    times: dict[str, int] = field(default_factory=dict)  # by worker
    seconds: float = 0.0


@dataclass
class Recording:
    """A whole run, of all its workers."""

    began: float
    ended: float = 0.0
    processors: int = 1
    tests: list[Test] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    fixtures: dict[tuple[str, str], FixtureSetups] = field(
        default_factory=dict
    )  # by module and name
    facts: dict[str, str] = field(default_factory=dict)  # server, template .. as they are called

    @property
    def workers(self) -> list[str]:
        names = {test.worker for test in self.tests} | {event.worker for event in self.events}
        return sorted(names, key=lambda name: (len(name), name))

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def of_kind(self, *kinds: str) -> Iterator[Event]:
        return (event for event in self.events if event.kind in kinds)

    def built(self, module: str, fixture: str, worker: str, seconds: float) -> None:
        """Note that ``worker`` has set up ``fixture`` for a test of ``module``."""
        built = self.fixtures.setdefault((module, fixture), FixtureSetups())
        built.times[worker] = built.times.get(worker, 0) + 1
        built.seconds += seconds
