"""What tests of the migrations cost: a long lineage, checked for the first time and once more.

    python benchmarks/check.py [--revisions 300] [--rounds 3] [--workers 2] [--without-others]

A third of the revisions make a table each; the others alter one, and every tenth inserts rows. All
is measured in one go and in turn, on the embedded server or on PGTEMPLATE_URL:

    first check    pytest --pg-check, nothing there yet, over `alembic upgrade heads` (at most 4),
                   as a whole, and what it takes more than the same run without checks
    second check   the same with one revision added, less the same run without checks (at most 2 s)
    others         the four tests of pytest-alembic, if it is installed, over the first check and
                   over the second (at least 10)

CPU is in seconds, of the clients and, on Linux, of the embedded server: it varies less than time
does on a machine that others use. Each side loads only the plugins that it needs. Python's byte
code is compiled before.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from lineage import write_environment, write_revision
from processes import cpu_seconds
from server import server_at

from pytest_pgtemplate import _embedded, _urls
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server.marks import Mark

CONFTEST = """
import pytest, sqlalchemy

@pytest.fixture
def alembic_engine():
    return sqlalchemy.create_engine("{url}")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--revisions", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--without-others", action="store_true")
    arguments = parser.parse_args()
    others = not arguments.without_others and find_spec("pytest_alembic") is not None
    with server_at() as server:
        print(f"{server}, {os.cpu_count()} CPUs, {arguments.revisions} revisions")
        rounds = [
            _round(server, arguments.revisions, arguments.workers, others=others)
            for _ in range(arguments.rounds)
        ]
    print(f"load average {os.getloadavg()[0]:.1f}")
    for name in rounds[0]:
        values = [each[name] for each in rounds]
        shown = ", ".join(f"{value:.2f}" for value in values)
        print(f"{name}: {statistics.median(values):.2f} (of {shown})")


def _round(server: Server, revisions: int, workers: int, *, others: bool) -> dict[str, float]:
    with TemporaryDirectory() as name, _database(server) as database:
        project = _Project(Path(name), server, database, workers)
        for number in range(revisions):
            project.revision(number)
        try:
            project.timed("-m", "alembic", "history")  # Python compiles the revisions
            plain = project.timed("-m", "alembic", "upgrade", "heads")
            first_without = project.pytest_in_vain()
            first = project.pytest("--pg-check")
            project.revision(revisions)
            without = project.pytest_in_vain()
            second = project.pytest("--pg-check")
            result = {
                "alembic upgrade heads, s": plain.seconds,
                "alembic upgrade heads, CPU": plain.cpu,
                "first check, s": first.seconds,
                "first check, CPU": first.cpu,
                "first check, s more than without": first.seconds - first_without.seconds,
                "first check over alembic upgrade heads": first.seconds / plain.seconds,
                "first check over alembic upgrade heads, CPU": first.cpu / plain.cpu,
                "first check, more than without, over alembic upgrade heads": (
                    (first.seconds - first_without.seconds) / plain.seconds
                ),
                "second check, s": second.seconds,
                "second check, s more than without": second.seconds - without.seconds,
                "second check, CPU more than without": second.cpu - without.cpu,
            }
            if others:
                server.drop(database)
                server.create(database, Mark("scratch", database[-8:]))
                taken = project.timed("-m", "pytest", "-q", "-p", "pytest_alembic", "others")
                result |= {
                    "pytest-alembic, s": taken.seconds,
                    "pytest-alembic, CPU": taken.cpu,
                    "pytest-alembic over first check": taken.seconds / first.seconds,
                    "pytest-alembic over first check, CPU": taken.cpu / first.cpu,
                    "pytest-alembic over second check": taken.seconds / second.seconds,
                }
            return result
        finally:
            project.clean()


class Cost(NamedTuple):
    """What a command took: seconds, and CPU seconds of it, its children and the server."""

    seconds: float
    cpu: float


class _Project:
    def __init__(self, root: Path, server: Server, database: str, workers: int) -> None:
        self._root, self._server, self._workers = root, server, workers
        self._prefix = database
        self._url = str(_urls.render(_urls.sync_url(server.url.set(database=database))))
        write_environment(root, self._url)
        self._write("pytest.ini", f"[pytest]\npg_name = {database}\n")
        self._write("others/conftest.py", CONFTEST.format(url=self._url))
        self._write("others/test_them.py", "from pytest_alembic.tests import *\n")
        self._write("test_it.py", "def test_it(pg_database):\n    pass\n")

    def revision(self, number: int) -> None:
        table = f"t{number // 3}"
        columns = [
            'sa.Column("id", sa.Integer, sa.Identity(), primary_key=True)',
            'sa.Column("name", sa.Text, nullable=False, unique=True)',
            'sa.Column("price", sa.Numeric(10, 2), server_default="0")',
        ]
        if number >= 3:
            key = f'sa.ForeignKey("t{number // 3 - 1}.id")'
            columns.append(f'sa.Column("parent", sa.Integer, {key})')
        up, undo = [
            (f'op.create_table("{table}", {", ".join(columns)})', f'op.drop_table("{table}")'),
            (
                f'op.add_column("{table}", sa.Column("note", sa.Text, index=True))',
                f'op.drop_column("{table}", "note")',
            ),
            (
                f'op.create_check_constraint("ck_{table}", "{table}", "price >= 0")',
                f'op.drop_constraint("ck_{table}", "{table}")',
            ),
        ][number % 3]
        if number % 10 == 2:
            up += f"""; op.execute("INSERT INTO t0 (name) VALUES ('{number}')")"""
            undo += f"""; op.execute("DELETE FROM t0 WHERE name = '{number}'")"""
        write_revision(self._root, number + 1, up, undo)

    def pytest(self, *arguments: str) -> Cost:
        plugins = ("-p", "xdist", "-p", "pgtemplate", "-n", str(self._workers))
        return self.timed("-m", "pytest", "-q", *plugins, "test_it.py", *arguments)

    def pytest_in_vain(self) -> Cost:
        """Without checks; the next run finds what this one has found."""
        before = {each.name for each in self._server.databases()}
        cost = self.pytest()
        for each in self._server.databases():
            if each.name not in before:
                self._server.drop(each.name)
        return cost

    def timed(self, *arguments: str) -> Cost:
        env = {
            **os.environ,
            "PGTEMPLATE_URL": str(_urls.render(self._server.url)),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONDONTWRITEBYTECODE": "",
        }
        began, before = time.perf_counter(), _cpu()
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self._root,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return Cost(time.perf_counter() - began, _cpu() - before)

    def clean(self) -> None:
        for each in self._server.databases():
            if each.name.startswith(f"{self._prefix}_"):
                self._server.drop(each.name)

    def _write(self, path: str, text: str) -> None:
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


def _cpu() -> float:
    """Of the children, and of the embedded server."""
    status = None if os.environ.get("PGTEMPLATE_URL") else _embedded.status(None)
    return cpu_seconds(status.pid if status else None)


@contextmanager
def _database(server: Server) -> Iterator[str]:
    """An empty one, for those who have no template."""
    name = f"bench_{uuid.uuid4().hex[:8]}"
    server.create(name, Mark("scratch", name[-8:]))
    yield name
    server.drop(name)


if __name__ == "__main__":
    main()
