"""Warn of a server that may have too few connections or locks: early, and in the summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_pgtemplate._run.stats import DatabaseStats

_LINES = "pgtemplate_server_limits"  # attribute of a report, sent by xdist


def exhausted_servers(workers: Iterable[DatabaseStats]) -> Iterator[str]:
    """Yield a line if the workers may need more connections or locks than a server has."""
    workers = list(workers)
    limits = {
        "may run out of connections: raise max_connections": attrgetter("server", "room"),
        "may run out of locks: raise max_locks_per_transaction": attrgetter("server", "lock_room"),
    }
    for limit, server_and_room in limits.items():
        counts = Counter(map(server_and_room, workers))
        for (server, room), count in counts.items():
            if count > room >= 0:
                yield f"{server} {limit}, or run at most {max(room, 1)} workers"


class ServerLimits:
    """A plugin of pytest that writes these lines at once, before the tests need the resources.

    A worker has no other way to the terminal than its reports, so it sends the lines with the next
    one: that of the setup which created its database.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._expected: dict[str, list[DatabaseStats]] = {}  # by the name of the database
        self._pending: list[str] = []
        self._written: set[str] = set()

    def expect(self, stats: DatabaseStats, workers: int) -> None:
        """Expect that so many workers use the server of this database as this worker does."""
        self._expected[stats.database] = [stats] * workers
        everything = (each for expected in self._expected.values() for each in expected)
        self._pending += exhausted_servers(everything)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if self._pending:
            setattr(report, _LINES, self._pending)
            self._pending = []
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for line in getattr(report, _LINES, ()):
            terminal = self._config.pluginmanager.get_plugin("terminalreporter")
            if terminal is not None and line not in self._written:
                self._written.add(line)
                terminal.ensure_newline()
                terminal.write_line(f"pgtemplate: {line}")
