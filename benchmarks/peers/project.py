"""The sample project: laid out for a side, with so many tables and revisions, and run."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from lineage import write_environment, write_revision
from runs import Run, run_pytest
from sqlalchemy import URL

from peers.databases import KEPT, BenchmarkServer
from peers.sides import FLOOR, Side

CONFIGURATIONS = Path(__file__).with_name("configurations")
BENCHMARKS = Path(__file__).parents[1]
SAMPLE = BENCHMARKS / "sample"
EXISTING = f"{KEPT}existing"
CREATE_TABLE = """op.create_table(
        "item_{number:04}",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, index=True),
        sa.Column("amount", sa.Integer, nullable=False, server_default="0"),{parent}
    )
    """
PARENT = """
        sa.Column("parent_id", sa.Integer, sa.ForeignKey("item_{number:04}.id"), index=True),"""
ADD_COLUMN = 'op.add_column("item_{table:04}", sa.Column("more_{number}", sa.Text))'


@dataclass
class Project:
    """One side's copy of the sample project, and the server that it uses: URL and process id."""

    root: Path
    side: Side
    url: URL
    server_pid: int
    tables: int = 100
    revisions: int = 100

    def __post_init__(self) -> None:
        shutil.copytree(SAMPLE, self.root, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(CONFIGURATIONS / f"{self.side.name}.py", self.root / "conftest.py")
        (self.root / "pytest.ini").write_text("[pytest]\n")
        self._template = f"{KEPT}{self.tables}_{self.revisions}"
        write_environment(self.root, self._url(self._template))
        for number in range(1, self.revisions + 1):
            write_revision(self.root, number, self._upgrade(number))
        compileall.compile_dir(self.root, quiet=1)

    def _upgrade(self, number: int) -> str:
        """The tables spread over the revisions; where there are fewer, columns in between."""
        begin, end = (ceil(self.tables * each / self.revisions) for each in (number - 1, number))
        made = "".join(map(_create_table, range(begin, end)))
        return made or ADD_COLUMN.format(table=begin - 1, number=number)

    def add_revision(self) -> None:
        """Add a revision on top of the others."""
        self.revisions += 1
        write_revision(self.root, self.revisions, ADD_COLUMN.format(table=0, number=self.revisions))

    def prepare(self, server: BenchmarkServer, *, cold: bool) -> None:
        """Before a run: the floor gets its database; a cold start finds nothing else.

        The checkpoint removes what earlier runs have left, such as files of truncated tables, so
        that no side pays for another one.
        """
        if cold:
            server.drop_databases()
        server.execute("CHECKPOINT")
        if self.side is FLOOR:
            self._create_existing_database(server)

    def run(
        self, tests: str, passed: int, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> Run:
        """Run one of the project's test files; every one of ``passed`` tests has to pass."""
        url = self._url()
        clocks = self.root / "clocks"
        shutil.rmtree(clocks, ignore_errors=True)
        clocks.mkdir()
        return run_pytest(
            self.root,
            tests,
            *arguments,
            plugins=("xdist", "clock", *self.side.plugins),
            passed=passed,
            server=self.server_pid,
            environment={
                "PYTHONPATH": os.pathsep.join((str(self.root), str(BENCHMARKS))),
                "BENCH_SERVER": str(self.server_pid),
                "DATABASE_URL": url,
                "EXISTING_DATABASE_URL": self._url(EXISTING),
                "PGTEMPLATE_URL": url,
                "DJANGO_SETTINGS_MODULE": "shop.settings",
                "BENCH_CLOCK": str(clocks),
                "BENCH_TABLES": str(self.tables),
                "BENCH_TESTS": str(passed),
                **(environment or {}),
            },
        )

    def clock(self, worker: str = "main") -> dict[str, list[float]]:
        """When the tests of a worker of the last run began, and when their calls ended."""
        clocks: dict[str, list[float]] = json.loads(
            (self.root / "clocks" / f"{worker}.json").read_text()
        )
        return clocks

    def _url(self, database: str = "postgres") -> str:
        return self.url.set(database=database).render_as_string(hide_password=False)

    def _create_existing_database(self, server: BenchmarkServer) -> None:
        if self._template not in server.fetch("SELECT datname FROM pg_database"):
            server.execute(f"CREATE DATABASE {self._template}")
            command = [sys.executable, "-m", "alembic", "upgrade", "head"]
            subprocess.run(command, cwd=self.root, check=True, capture_output=True)
        server.execute(f"DROP DATABASE IF EXISTS {EXISTING} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {EXISTING} TEMPLATE {self._template}")


def _create_table(number: int) -> str:
    parent = PARENT.format(number=(number - 1) // 2) if number else ""
    return CREATE_TABLE.format(number=number, parent=parent)
