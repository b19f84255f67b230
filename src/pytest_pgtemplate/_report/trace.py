"""Write the run as Trace Events, for Perfetto and chrome://tracing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pytest_pgtemplate._report.recording import LEAK, RECLONE, RESET, Recording

_NAMED_AFTER_TEST = (RECLONE, RESET, LEAK)


class _Span(NamedTuple):
    worker: str
    category: str
    name: str
    start: float
    end: float
    details: dict[str, Any]


def write_trace(recording: Recording, file: Path) -> None:
    """Write the trace. Raises OSError."""
    trace = {"traceEvents": list(_events(recording)), "otherData": recording.facts}
    file.write_text(json.dumps(trace, separators=(",", ":")), "utf-8")


def _events(recording: Recording) -> Iterator[dict[str, Any]]:
    spans = list(_spans(recording))
    for lane, worker in enumerate(recording.workers, 1):
        thread = {"pid": 1, "tid": lane}
        yield {"ph": "M", "name": "thread_name", **thread, "args": {"name": worker}}
        for span in _nest(span for span in spans if span.worker == worker):
            start, end = (round(1e6 * (at - recording.began)) for at in (span.start, span.end))
            times = {"ts": start, "dur": end - start}
            labels = {"cat": span.category, "name": span.name, "args": span.details}
            yield {"ph": "X", **labels, **times, **thread}


def _nest(spans: Iterable[_Span]) -> Iterator[_Span]:
    """Cut each span at the end of the span that contains it, because viewers expect nesting.

    The ends may differ slightly: they come from two clocks.
    """
    stack: list[_Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        while stack and stack[-1].end <= span.start:
            stack.pop()
        stack.append(span._replace(end=min([span.end, *(outer.end for outer in stack[-1:])])))
        yield stack[-1]


def _spans(recording: Recording) -> Iterator[_Span]:
    for event in recording.events:
        name = event.kind if event.kind in _NAMED_AFTER_TEST else event.name or event.kind
        yield _Span(event.worker, event.kind, name, event.start, event.end, event.details)
    for test in recording.tests:
        phases = list(test.phases())
        end = max((start + seconds for _, start, seconds in phases), default=test.start)
        details = {"outcome": test.outcome, "tables": test.tables}
        yield _Span(test.worker, "test", test.nodeid, test.start, end, details)
        for phase, start, seconds in phases:
            yield _Span(test.worker, phase, phase, start, start + seconds, {})
