"""A run as Trace Events, which Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pytest_pgtemplate._report.recording import LEAK, RECLONE, RESET, Recording

_OF_TESTS = (RECLONE, RESET, LEAK)  # events that bear the name of a test


class _Span(NamedTuple):
    worker: str
    category: str
    name: str
    start: float
    end: float
    details: dict[str, Any]


def write_trace(recording: Recording, file: Path) -> None:
    """Raises OSError."""
    trace = {"traceEvents": list(_events(recording)), "otherData": recording.facts}
    file.write_text(json.dumps(trace, separators=(",", ":")), "utf-8")


def _events(recording: Recording) -> Iterator[dict[str, Any]]:
    spans = list(_spans(recording))
    for lane, worker in enumerate(recording.workers, 1):
        where = {"pid": 1, "tid": lane}
        yield {"ph": "M", "name": "thread_name", **where, "args": {"name": worker}}
        for span in _nested(each for each in spans if each.worker == worker):
            start, end = (round(1e6 * (each - recording.began)) for each in (span.start, span.end))
            when = {"ts": start, "dur": end - start}
            what = {"cat": span.category, "name": span.name, "args": span.details}
            yield {"ph": "X", **what, **when, **where}


def _nested(spans: Iterable[_Span]) -> Iterator[_Span]:
    """What is within another, by two clocks, ends no later: viewers stack what they are given."""
    around: list[_Span] = []
    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        while around and around[-1].end <= span.start:
            around.pop()
        around.append(span._replace(end=min([span.end, *(each.end for each in around[-1:])])))
        yield around[-1]


def _spans(recording: Recording) -> Iterator[_Span]:
    for event in recording.events:
        name = event.kind if event.kind in _OF_TESTS else event.name or event.kind
        yield _Span(event.worker, event.kind, name, event.start, event.end, event.details)
    for test in recording.tests:
        phases = list(test.phases())
        end = max((start + seconds for _, start, seconds in phases), default=test.start)
        details = {"outcome": test.outcome, "tables": test.tables}
        yield _Span(test.worker, "test", test.nodeid, test.start, end, details)
        for phase, start, seconds in phases:
            yield _Span(test.worker, phase, phase, start, start + seconds, {})
