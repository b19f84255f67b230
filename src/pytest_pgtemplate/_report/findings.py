"""What can be learnt from a run. Pure functions of a recording."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import NamedTuple

from pytest_pgtemplate._display.tables import pluralize
from pytest_pgtemplate._report.recording import (
    COLLECT,
    LAYER,
    LEAK,
    ONCE,
    RECLONE,
    RESET,
    START,
    Recording,
    Test,
)

WORTH = 0.05  # seconds that are worth a hint


class RepeatedFixture(NamedTuple):
    """A fixture that would be worth a wider scope: what it cost, and how much that would save."""

    module: str
    fixture: str
    times: int
    seconds: float
    saves: float


class Resets(NamedTuple):
    """How long they took, in seconds."""

    times: int
    median: float
    worst: float
    total: float


def time_spent(recording: Recording) -> dict[str, float]:
    """The time of all workers, in seconds: the parts add up to the run's time for each of them."""
    whole = recording.seconds * len(recording.workers)
    tests = sum(test.call for test in recording.tests)
    around = sum(test.setup + test.teardown for test in recording.tests)
    database = sum(event.seconds for event in recording.of_kind(*ONCE, RESET, RECLONE))
    starting = sum(event.seconds for event in recording.of_kind(START, COLLECT))
    setup = max(0.0, around - database)
    idle = max(0.0, whole - tests - setup - database - starting)
    return {
        "tests": tests,
        "set-up": setup,
        "database": database,
        "starting": starting,
        "idle": idle,
    }


def resets(recording: Recording) -> Resets:
    times = [event.seconds for event in recording.of_kind(RESET)]
    return Resets(len(times), median(times or [0.0]), max(times, default=0.0), sum(times))


def slowest_tests(recording: Recording, count: int) -> list[tuple[Test, float]]:
    """The tests that took longest, and how long (s), without what a worker does once."""
    first: dict[tuple[str, str], float] = {}
    for event in recording.of_kind(*ONCE):
        key = event.worker, event.details["test"]
        first[key] = first.get(key, 0.0) + event.seconds

    costs = (
        (test, test.seconds - first.get((test.worker, test.nodeid), 0.0))
        for test in recording.tests
    )
    return sorted(costs, key=lambda entry: -entry[1])[:count]


def worth_sharing(recording: Recording) -> list[RepeatedFixture]:
    """Fixtures that were set up repeatedly for the tests of one module, the slowest first."""
    found = []
    for (module, fixture), built in recording.fixtures.items():
        times = sum(built.times.values())
        saves = built.seconds * (1 - len(built.times) / times)
        if saves >= WORTH:
            found.append(RepeatedFixture(module, fixture, times, built.seconds, saves))
    return sorted(found, key=lambda each: -each.saves)


def tables_written(recording: Recording) -> list[tuple[str, int]]:
    """Each table, and how many tests wrote to it; the most often written one first."""
    return Counter(table for test in recording.tests for table in test.tables).most_common()


def schema_changed(recording: Recording) -> list[tuple[str, str]]:
    """Tests after which the database was cloned afresh, and why."""
    return [(event.name, str(event.details["why"])) for event in recording.of_kind(RECLONE)]


def leaked(recording: Recording) -> list[tuple[str, str]]:
    """Tests that left a transaction open, and what it was."""
    return [(event.name, str(event.details["what"])) for event in recording.of_kind(LEAK)]


def layers(recording: Recording) -> list[tuple[str, int, float]]:
    """What shared data was built: whose, how often, in how many seconds."""
    seconds: dict[str, list[float]] = {}
    for event in recording.of_kind(LAYER):
        seconds.setdefault(event.name, []).append(event.seconds)
    return sorted(((name, len(each), sum(each)) for name, each in seconds.items()))


def one_more_worker(recording: Recording) -> str:
    """Whether the run would have been over sooner with one more, in a sentence."""
    workers = len(recording.workers)
    once = sum(event.seconds for event in recording.of_kind(*ONCE))
    work = sum(test.seconds for test in recording.tests) - once
    longest = max((test.seconds for test in recording.tests), default=0.0) - once / max(1, workers)
    if not recording.tests:
        return "No test has run."
    saves = min(work / workers - work / (workers + 1), work / workers - longest)
    if workers >= recording.processors:
        return (
            f"No: {pluralize(workers, 'worker')} already share{'s' * (workers == 1)}"
            f" {pluralize(recording.processors, 'processor')}."
        )
    if saves < 0.05 * recording.seconds:
        return (
            f"No: of {recording.seconds:.1f} s it would save less than a twentieth;"
            " starting a worker and the longest test take what they take."
        )
    return (
        f"Yes: about {saves:.1f} of {recording.seconds:.1f} s, as"
        f" {pluralize(workers, 'worker')} had {work:.1f} s of work and there are"
        f" {pluralize(recording.processors, 'processor')}."
    )
