"""The figures of a run equal those of the server's log, of the migrations and of other clocks."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate._report.recording import ONCE
from pytest_pgtemplate._server import Server
from support.programs import load_program
from support.projects import COUNTED, ITEM, Project, make_project, query, unique
from support.servers import private_server

TESTS = load_program("figures/tests.py")
# How long each phase of each test took, with all that belongs to it, by a clock of the tests' own.
CLOCK = load_program("figures/clock.py")


class Logged:
    """A project on a server that logs every statement, and the counts in that log."""

    def __init__(self, project: Project, log: Path) -> None:
        self.project = project
        self._log = log
        self._read = 0
        self._read = len(self._log_text())

    def count(self, pattern: str) -> int:
        """How many statements there were that begin like this."""
        return len(re.findall(rf"LOG:  (?:statement|execute \S+): {pattern}", self._log_text()))

    def _log_text(self) -> str:
        """Return what has been logged until now, when the logging collector has written it."""
        marker = unique("marker")
        query(self.project.server.url, f"SELECT '{marker}'")
        deadline = time.monotonic() + 60
        while marker not in (text := self._log.read_text()):
            assert time.monotonic() < deadline, "the logging collector does not write"
            time.sleep(0.01)
        return text[self._read :]

    @property
    def resets(self) -> int:
        """Without the last one of each database that was put back as a spare."""
        return self.count(r"SELECT tables, \w+\.reset\(") - self.put_back

    @property
    def put_back(self) -> int:
        """How many databases of workers became spares."""
        worker, spare = (f'"{self.project.prefix}_{kind}_' for kind in (r"[0-9a-f]{8}", "sp"))
        return self.count(rf".*ALTER DATABASE {worker}\w+\" RENAME TO {spare}")

    @property
    def clones(self) -> int:
        return self.count(rf'CREATE DATABASE "{self.project.prefix}_[0-9a-f]{{8}}_(gw\d|main)"')

    @property
    def spares(self) -> int:
        """How many were taken. If two workers try to take the same one, one statement fails."""
        take = rf'.*RENAME TO "{self.project.prefix}_[0-9a-f]{{8}}_(gw\d|main)"'
        return self.count(take) - len(re.findall(rf"STATEMENT:  {take}", self._log_text()))

    def clock(self, *phases: str) -> float:
        lines = (
            json.loads(line)
            for file in self.project.root.glob("clock-*.log")
            for line in file.read_text().splitlines()
        )
        return float(sum(seconds for _, phase, seconds in lines if phase in phases))


@pytest.fixture(scope="module")
def logging_url() -> Iterator[URL]:
    with private_server(
        log_statement="all",
        logging_collector="on",
        log_filename="server.log",
        log_file_mode="0644",
    ) as url:
        yield url


@pytest.fixture
def logged(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, logging_url: URL
) -> Iterator[Logged]:
    server = Server(logging_url, timeout=60)
    for project in make_project(pytester, monkeypatch, server, logging_url):
        project.alembic()
        project.revision("one", ITEM)
        project.revision("two", COUNTED)
        project.write("test_it.py", TESTS)
        project.write("conftest.py", CLOCK)
        log = Path(str(logging_url.query["host"]), "data", "log", "server.log")
        yield Logged(project, log)
    server.close()


def data_in(page: Path) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found
    return json.loads(found[1])


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, f"{pattern} is not in\n{text}"
    return float(found[1])


def test_resets_and_clones_are_those_of_the_servers_log(logged: Logged) -> None:
    result = logged.project.run("--pg-stats", "--pg-report=page.html")
    result.assert_outcomes(passed=10)
    output, data = result.stdout.str(), data_in(logged.project.root / "page.html")

    assert logged.put_back == 1
    resets = logged.resets - 1  # the first one is that of the prepared database
    assert number(r"1 database, (\d+) resets", output) == resets == data["resets"]["times"]
    assert number(r"  main: .* (\d+) resets", output) == resets
    again = len(re.findall(r"^  re-cloned after", output, re.MULTILINE))
    assert again == 2  # after the schema was changed; what a test asks for is nothing to act on
    assert len(data["changed"]) == 3
    assert logged.clones + logged.spares == 1 + len(data["changed"])


def test_spares_and_workers_are_those_of_the_servers_log(logged: Logged) -> None:
    logged.project.run("-k", "writes").assert_outcomes(passed=6)
    assert (logged.clones, logged.spares) == (1, 0)

    result = logged.project.run_workers("-k", "writes", "--pg-stats", "--pg-report=page.html")
    result.assert_outcomes(passed=6)
    output = result.stdout.str()
    assert number(r"2 databases \((\d+) spare", output) == logged.spares
    assert number(r"; (\d+) databases", output) == logged.spares + logged.clones - 1
    workers = sum(map(int, re.findall(r"gw\d: .* (\d+) resets", output)))
    data = data_in(logged.project.root / "page.html")
    assert workers == data["resets"]["times"]
    assert [kind for _, kind, *_ in data["events"]].count("clone") == 2


def test_migrations_are_those_that_ran(logged: Logged) -> None:
    result = logged.project.run("--pg-report=page.html")
    assert logged.project.migrations() == 1
    result.stdout.fnmatch_lines("* migrated 2 of 2 revisions in *")
    logged.project.revision("three", COUNTED)
    result = logged.project.run("--pg-report=page.html")
    assert logged.project.migrations() == 2
    result.stdout.fnmatch_lines("* migrated 1 of 3 revisions in *")
    page = logged.project.root / "page.html"
    assert data_in(page)["facts"]["template"] == "migrated 1 of 3 revisions"


@pytest.mark.parametrize("workers", [0, 2])
def test_times_are_within_those_of_the_tests_own_clock(logged: Logged, workers: int) -> None:
    arguments = ("--pg-stats", "--pg-report=page.html")
    run = logged.project.run_workers if workers else logged.project.run
    result = run(*arguments)
    result.assert_outcomes(passed=10)
    output, data = result.stdout.str(), data_in(logged.project.root / "page.html")

    inner = logged.clock("call")
    phases = logged.clock("setup", "call", "teardown")
    spent, slack = data["spent"], len(data["tests"]) / data["scale"]
    assert inner <= spent["tests"] + slack
    # What pytest does around its hooks is in its own times, and in no clock within them.
    around = sum(row[4] + row[5] + row[6] for row in data["tests"]) / data["scale"]
    assert phases <= around + slack
    # No test waits for the preparation, which ends before the first one.
    before = sum(row[4] for row in data["events"] if row[1] in ONCE) / data["scale"]
    assert spent["tests"] + spent["set-up"] + spent["database"] == pytest.approx(
        around + before, abs=slack
    )
    assert data["resets"]["total"] <= logged.clock("teardown")
    waited = sum(float(each) for each in re.findall(r": template ([\d.]+) s", output))
    cloned = sum(float(each) for each in re.findall(r"(?:spare|clone) ([\d.]+) s", output))
    assert before <= waited + cloned <= data["seconds"] * len(data["workers"])
    time_line = re.search(r"  time: (.*)", output)
    assert time_line
    parts = [float(each) for each in re.findall(r"([\d.]+) s \(", time_line[1])]
    assert sum(parts) == pytest.approx(data["seconds"] * len(data["workers"]), abs=0.05 * 5 + 0.01)


def test_peak_connections_are_those_that_the_server_had(logged: Logged) -> None:
    logged.project.write(
        "test_it.py",
        load_program("figures/peak_connections_are_those_that_the_server_had.py"),
    )
    result = logged.project.run("--pg-stats")
    result.assert_outcomes(passed=2)
    on_the_server = int((logged.project.root / "connections").read_text())
    assert on_the_server == 4
    peak = on_the_server + 1  # and one to the server itself, which is in no database of the run
    allowed = logged.project.server.facts.max_connections
    expected = f"{peak} per worker, at most {peak} in total, {allowed} allowed"
    assert f"; peak connections: {expected}\n" in result.stdout.str()
