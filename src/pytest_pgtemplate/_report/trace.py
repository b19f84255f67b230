"""A run as Trace Events, which Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_pgtemplate._report.recording import Recording, Test


def write_trace(recording: Recording, file: Path) -> None:
    """Raises OSError."""
    trace = {"traceEvents": list(_events(recording)), "otherData": recording.facts}
    file.write_text(json.dumps(trace, separators=(",", ":")), "utf-8")


def _events(recording: Recording) -> Iterator[dict[str, Any]]:
    lanes = {worker: number for number, worker in enumerate(recording.workers, 1)}
    for worker, lane in lanes.items():
        named = {"name": worker}
        yield {"ph": "M", "name": "thread_name", "pid": 1, "tid": lane, "args": named}

    def span(
        worker: str, category: str, name: str, start: float, seconds: float, **args: object
    ) -> dict[str, Any]:
        when = {"ts": round(1e6 * (start - recording.began)), "dur": round(1e6 * seconds)}
        where = {"pid": 1, "tid": lanes[worker]}
        return {"ph": "X", "cat": category, "name": name, **when, **where, "args": args}

    for event in recording.events:
        name = event.name or event.kind
        yield span(event.worker, event.kind, name, event.start, event.seconds, **event.details)
    for test in recording.tests:
        yield span(
            *(test.worker, "test", test.nodeid, test.start, test.seconds),
            outcome=test.outcome,
            tables=test.tables,
        )
        for phase, start, seconds in _phases(test):
            yield span(test.worker, phase, phase, start, seconds)


def _phases(test: Test) -> Iterator[tuple[str, float, float]]:
    start = test.start
    for phase in ("setup", "call", "teardown"):
        seconds = getattr(test, phase)
        yield phase, start, seconds
        start += seconds
