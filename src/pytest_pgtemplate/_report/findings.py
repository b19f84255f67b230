"""Analyse a recording. Pure functions."""

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

WORTH = 0.05  # seconds of saving that are worth a hint


class RepeatedFixture(NamedTuple):
    """A fixture that should have a wider scope, with its cost and the possible saving."""

    module: str
    fixture: str
    times: int
    seconds: float
    saves: float


class Resets(NamedTuple):
    """The durations of all resets, in seconds."""

    times: int
    median: float
    worst: float
    total: float


def time_spent(recording: Recording) -> dict[str, float]:
    """Return the seconds of all workers by activity. The sum is run time times workers."""
    whole = recording.seconds * len(recording.workers)
    tests = sum(test.call for test in recording.tests)
    around = sum(test.setup + test.teardown for test in recording.tests)
    steps = list(recording.of_kind(*ONCE, RESET, RECLONE))
    database = sum(event.seconds for event in steps)
    starting = sum(event.seconds for event in recording.of_kind(START, COLLECT))
    setup = max(0.0, around - sum(event.seconds for event in steps if event.in_test))
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
    """Return the slowest tests and their seconds, without work that a worker does once."""
    once: dict[tuple[str, str], float] = {}
    for event in recording.of_kind(*ONCE):
        key = event.worker, event.details["test"]
        once[key] = once.get(key, 0.0) + event.seconds

    costs = (
        (test, test.seconds - once.get((test.worker, test.nodeid), 0.0)) for test in recording.tests
    )
    return sorted(costs, key=lambda entry: -entry[1])[:count]


def worth_sharing(recording: Recording) -> list[RepeatedFixture]:
    """Return fixtures that were set up repeatedly for one module, the largest saving first."""
    found = []
    for (module, fixture), setups in recording.fixtures.items():
        times = sum(setups.times.values())
        saves = setups.seconds * (1 - len(setups.times) / times)
        if saves >= WORTH:
            found.append(RepeatedFixture(module, fixture, times, setups.seconds, saves))
    return sorted(found, key=lambda fixture: -fixture.saves)


def tables_written(recording: Recording) -> list[tuple[str, int]]:
    """Return each table with the number of tests that wrote to it, the largest number first."""
    return Counter(table for test in recording.tests for table in test.tables).most_common()


def schema_changed(recording: Recording) -> list[tuple[str, str]]:
    """Return the tests after which the database was re-cloned, with the reason."""
    return [(event.name, str(event.details["why"])) for event in recording.of_kind(RECLONE)]


def leaked(recording: Recording) -> list[tuple[str, str]]:
    """Return the tests that left a transaction open, with the leak."""
    return [(event.name, str(event.details["what"])) for event in recording.of_kind(LEAK)]


def layers(recording: Recording) -> list[tuple[str, int, float]]:
    """Return the owners of layers, with the number of setups and their seconds."""
    seconds: dict[str, list[float]] = {}
    for event in recording.of_kind(LAYER):
        seconds.setdefault(event.name, []).append(event.seconds)
    return sorted(((name, len(times), sum(times)) for name, times in seconds.items()))


def one_more_worker(recording: Recording) -> str:
    """Return a sentence: would one more worker have made the run shorter?"""
    workers = len(recording.workers)
    once = sum(event.seconds for event in recording.of_kind(*ONCE) if event.in_test)
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
            f"No: it would save less than 5 % of {recording.seconds:.1f} s, because of the time to"
            " start a worker and the longest test."
        )
    return (
        f"Yes: it would save about {saves:.1f} of {recording.seconds:.1f} s."
        f" {pluralize(workers, 'worker')} had {work:.1f} s of work, on"
        f" {pluralize(recording.processors, 'processor')}."
    )
