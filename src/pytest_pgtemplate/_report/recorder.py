"""Record a run for ``--pg-report``, ``--pg-trace`` and ``--pg-stats``.

The events of a worker travel to the controller as an attribute of each teardown report. So the
controller has the events of a crashed worker up to its last finished test.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_pgtemplate._internals import clocks
from pytest_pgtemplate._internals.pytest import map_report_strings
from pytest_pgtemplate._report.figures import figures
from pytest_pgtemplate._report.page import write_page
from pytest_pgtemplate._report.recording import COLLECT, START, Event, Recording, Test
from pytest_pgtemplate._report.trace import write_trace
from pytest_pgtemplate._run import Run
from pytest_pgtemplate._run.timeline import Timeline
from pytest_pgtemplate._settings import is_fixture_name
from pytest_pgtemplate._urls import redaction

if TYPE_CHECKING:
    from pytest_pgtemplate._engines import ConnectionCounter

WRITERS: dict[str, Callable[[Recording, Path], None]] = {
    "pg_report": write_page,
    "pg_trace": write_trace,
}
OWN_CONNECTIONS = 2  # the plugin's connections: to the server, and to the worker's database
_PHASE = "pgtemplate_phase"  # attribute of a report, sent by xdist: its start and its seconds
TimelineEvent = tuple[str, str, float, float, dict[str, Any]]  # as in _run.timeline


class Recorder:
    """A pytest plugin: collects events in each worker, and writes the reports in the controller."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self._config = config
        self._run = run
        self._in_worker = hasattr(config, "workerinput")
        self._timeline = run.progress.timeline = run.timeline = Timeline()
        self._clock = self._timeline.clock
        self._phase_began = 0.0
        self._setups: list[tuple[str, float]] = []  # fixtures of the current test, and seconds
        self._nested = 0.0  # seconds of the fixtures that the current fixture requested
        self._reports: list[pytest.TestReport] = []  # evaluated at the end
        self._running: dict[tuple[str, str], Test] = {}  # by worker and test
        self._finished: dict[str, Test] = {}  # by test: its last run
        self._spawned: dict[str, float] = {}
        self._connections: ConnectionCounter | None = None  # None: this process runs no tests
        self.recording = Recording(self._clock.now(), processors=_processors())

    # In a worker, and without xdist

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        with self._timeline.during("collect"):
            return (yield)

    def pytest_collection_finish(self) -> None:
        from pytest_pgtemplate._engines import ConnectionCounter

        self._connections = ConnectionCounter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        if self._connections is not None:
            self._connections.close()
            for stats in self._run.stats[:1]:
                stats.connections = self._connections.peak + OWN_CONNECTIONS * len(self._run.stats)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        if fixturedef.scope != "function" or is_fixture_name(fixturedef.argname):
            return (yield)
        began, outer, self._nested = clocks.monotonic(), self._nested, 0.0
        try:
            return (yield)
        finally:
            took = clocks.monotonic() - began
            if self._run.uses_plugin_fixture(fixturedef):
                self._setups.append((fixturedef.argname, took - self._nested))
            self._nested = outer + took

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        """Measure each phase: pytest does so with clocks that tests may change."""
        self._phase_began = self._clock.now()
        return (yield)

    pytest_runtest_call = pytest_runtest_teardown = pytest_runtest_setup

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        seconds = self._clock.now() - self._phase_began
        report = yield
        setattr(report, _PHASE, (self._phase_began, seconds))
        return report

    def _report_data(self) -> list[Any]:
        """Return what a teardown report transports: the new events, and the fixture setups."""
        setups, self._setups = self._setups, []
        passwords = self._run.find_passwords()
        return [[_redact_event(passwords, event) for event in self._timeline.take()], setups]

    # In the controller, and without xdist

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        self._spawned[node.gateway.id] = self._clock.now()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        worker = node.gateway.id
        event = Event(worker, START, "starting", self._spawned[worker], self._clock.now(), {})
        self.recording.events.append(event)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the data in a worker, before xdist sends the report; keep it in the controller."""
        if type(report) is not pytest.TestReport:
            return  # the report of a subtest
        if report.when == "teardown" and not hasattr(report, "node"):
            report.pgtemplate = self._report_data()  # type: ignore[attr-defined]
        if not self._in_worker:
            self._reports.append(report)

    def _record_report(self, report: pytest.TestReport) -> None:
        worker = report.node.gateway.id if hasattr(report, "node") else "main"
        key = worker, report.nodeid
        began, seconds = getattr(report, _PHASE, (report.start, report.duration))
        if not began and report.when == "teardown":
            self._record_late_error(report)
            return
        test = self._running.get(key)
        if test is None:
            test = self._running[key] = Test(worker, report.nodeid, began)
        if report.when in {"setup", "call", "teardown"}:
            setattr(test, report.when, seconds)
            test.starts[report.when] = began
            if report.outcome != "passed":
                test.outcome = _outcome(report)
        else:  # xdist's report of a test during which the worker crashed
            test.outcome, test.start = "crashed", test.start or self._clock.now()
        if report.when not in {"setup", "call"}:
            self._finished[report.nodeid] = self._running.pop(key)
            self.recording.tests.append(test)
            self._record_events(test, *_data_of(report))

    def _record_late_error(self, report: pytest.TestReport) -> None:
        """Record an error that the plugin reports for a test whose teardown is over."""
        if (test := self._finished.get(report.nodeid)) is not None:
            test.outcome = _outcome(report)
            self._record_events(test, *_data_of(report))

    def _record_events(
        self, test: Test, events: Sequence[TimelineEvent], setups: Sequence[tuple[str, float]]
    ) -> None:
        tables: set[str] = set()
        collected = max((end for kind, _, _, end, _ in events if kind == COLLECT), default=0.0)
        for values in events:
            event = Event(test.worker, *values)
            if event.kind == COLLECT:
                self._correct_start(test.worker, event.start)
            else:  # a step of the preparation lasts until the run does not wait for it any more
                event = event.not_before(collected)
            event.details.setdefault("test", test.nodeid if event.end > test.start else "")
            self.recording.events.append(event)
            if event.kind == "reset" and event.name == test.nodeid:
                test.reset += event.seconds
                tables.update(name.removeprefix("public.") for name in event.details["tables"])
        test.tables = tuple(sorted(tables))
        for fixture, seconds in setups:
            self.recording.add_setup(test.module, fixture, test.worker, seconds)

    def _correct_start(self, worker: str, moment: float) -> None:
        """End the start of a worker when its collection begins: the controller's clock is later."""
        events = self.recording.events
        for number, event in enumerate(events):
            if (event.worker, event.kind) == (worker, START) and event.end > moment:
                events[number] = event._replace(end=max(event.start, moment))

    def finish(self, facts: dict[str, str]) -> list[str]:
        """Write the requested files; return a line about each, and the lines of ``--pg-stats``."""
        self.recording.ended = self._clock.now()
        for report in self._reports:
            self._record_report(report)
        self.recording.facts = facts
        lines = list(figures(self.recording)) if self._run.settings.output.stats else []
        for option, write in WRITERS.items():
            if given := self._config.getoption(option):
                file = self._config.invocation_params.dir / given
                try:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    write(self.recording, file)
                    lines.append(f"  report written to {file}")
                except OSError as error:
                    lines.append(f"  cannot write {file}: {error.strerror}")
        return lines


def _redact_event(passwords: Iterable[str], event: TimelineEvent) -> TimelineEvent:
    kind, name, start, end, details = event
    for password in passwords:
        hidden = partial(redaction.redact_where_expected, password=password)
        details = {key: map_report_strings(value, hidden) for key, value in details.items()}
    return kind, name, start, end, details


def _data_of(report: pytest.TestReport) -> list[Any]:
    """Return the data that a report transports; only teardown reports have data."""
    return getattr(report, "pgtemplate", [(), ()])


def _outcome(report: pytest.TestReport) -> str:
    if report.outcome == "failed" and report.when != "call":
        return "error"
    if hasattr(report, "wasxfail"):
        return "xfailed"
    return report.outcome


def _processors() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
