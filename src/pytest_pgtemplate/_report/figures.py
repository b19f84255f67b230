"""The lines that ``--pg-stats`` adds to the summary."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_pgtemplate._report import findings
from pytest_pgtemplate._report.recording import Recording

MAX_LINES = 10  # of one kind


def figures(recording: Recording) -> Iterator[str]:
    """Yield where the time went, and what would save time."""
    spent = findings.time_spent(recording)
    whole = sum(spent.values()) or 1.0
    parts = (f"{name} {seconds:.1f} s ({seconds / whole:.0%})" for name, seconds in spent.items())
    yield f"  time: {', '.join(parts)}"
    resets = findings.resets(recording)
    yield f"  resets: median {1000 * resets.median:.2f} ms, worst {1000 * resets.worst:.2f} ms"
    yield f"  one more worker? {findings.one_more_worker(recording)}"
    yield "  slowest tests:"
    for test, seconds in findings.slowest_tests(recording, MAX_LINES):
        wrote = f"  wrote {', '.join(test.tables)}" if test.tables else ""
        yield f"    {seconds:8.3f} s  {test.nodeid}{wrote}"
    for title, lines in (
        ("repeated fixture setups:", list(_repeated_fixtures(recording))),
        ("tables written:", list(_written(recording))),
        ("left a transaction open:", [test for test, _ in findings.leaked(recording)]),
    ):
        yield from _list_lines(title, lines)


def _repeated_fixtures(recording: Recording) -> Iterator[str]:
    for found in findings.worth_sharing(recording):
        yield (
            f"{found.seconds:8.3f} s  {found.fixture}, {found.times} times in {found.module}:"
            f' scope="module" would save up to {found.saves:.2f} s if it returns plain data'
        )


def _written(recording: Recording) -> Iterator[str]:
    for table, tests in findings.tables_written(recording):
        yield f"{tests:6} test{'s' * (tests != 1)}  {table}"


def _list_lines(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"  {title}"
        yield from (f"    {line}" for line in lines[:MAX_LINES])
    if lines[MAX_LINES:]:
        yield f"    and {len(lines) - MAX_LINES} more"
