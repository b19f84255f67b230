"""A run in figures: the lines of ``--pg-stats``."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_pgtemplate._report import findings
from pytest_pgtemplate._report.recording import Recording

MOST = 10  # lines of one kind


def figures(recording: Recording) -> Iterator[str]:
    """Where the time went, and what would save some."""
    spent = findings.time_spent(recording)
    whole = sum(spent.values()) or 1.0
    parts = (f"{name} {seconds:.1f} s ({seconds / whole:.0%})" for name, seconds in spent.items())
    yield f"  time: {', '.join(parts)}"
    resets = findings.resets(recording)
    yield f"  resets: median {1000 * resets.median:.2f} ms, worst {1000 * resets.worst:.2f} ms"
    yield f"  one more worker? {findings.one_more_worker(recording)}"
    yield "  slowest tests:"
    for test, seconds in findings.slowest_tests(recording, MOST):
        wrote = f"  wrote {', '.join(test.tables)}" if test.tables else ""
        yield f"    {seconds:8.3f} s  {test.nodeid}{wrote}"
    for title, lines in (
        ("built again and again:", list(_sharing(recording))),
        ("tables written:", list(_written(recording))),
        ("left a transaction open:", [test for test, _ in findings.leaked(recording)]),
    ):
        yield from _listed(title, lines)


def _sharing(recording: Recording) -> Iterator[str]:
    for each in findings.worth_sharing(recording):
        yield (
            f"{each.seconds:8.3f} s  {each.fixture}, {each.times} times in {each.module}:"
            f' scope="module" would save up to {each.saves:.2f} s'
        )


def _written(recording: Recording) -> Iterator[str]:
    for table, tests in findings.tables_written(recording):
        yield f"{tests:6} test{'s' * (tests != 1)}  {table}"


def _listed(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"  {title}"
        yield from (f"    {line}" for line in lines[:MOST])
    if lines[MOST:]:
        yield f"    and {len(lines) - MOST} more"
