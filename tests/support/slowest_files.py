"""The ten slowest files at the end of the long form, and what takes long while the suite runs.

A pytest plugin. Nothing here is a test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator

import pytest

from pytest_pgtemplate._run import RUN

SHOWN = 10


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """The plugin's own progress line names the test that a worker is busy with."""
    with item.config.stash[RUN].progress.step(item.nodeid):
        return (yield)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if not config.getoption("--full"):
        return
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration  # type: ignore[assignment]
    terminalreporter.section(f"slowest {SHOWN} files")
    for file, spent in seconds.most_common(SHOWN):
        terminalreporter.line(f"{spent:8.1f} s  {file}")
