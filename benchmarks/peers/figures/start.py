"""The start: from the command until each worker has run its first test on its database.

CPU time is that of the whole run, in which each worker has two small tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from peers.databases import BenchmarkServer, benchmark_server
from peers.project import Project
from peers.results import Key, Results
from peers.sides import (
    CLASSIC,
    FLOOR,
    MOCK_RESOURCES,
    PGTEMPLATE,
    PGTESTDBPY,
    PYTEST_POSTGRESQL,
    SQLALCHEMY_ALEMBIC,
    Side,
)

NAME = "start"
SIDES = (
    FLOOR,
    PGTEMPLATE,
    CLASSIC,
    PYTEST_POSTGRESQL,
    MOCK_RESOURCES,
    PGTESTDBPY,
    SQLALCHEMY_ALEMBIC,
)
STATES = ("cold", "warm", "revision added")


@dataclass(frozen=True)
class Form:
    """Each number of revisions with the first number of workers, and the other way round."""

    tables: int
    revisions: tuple[int, ...]
    workers: tuple[int, ...]


TINY = Form(tables=10, revisions=(10,), workers=(2,))
QUICK = Form(tables=100, revisions=(100,), workers=(2,))
FULL = Form(tables=100, revisions=(100, 30, 300), workers=(4, 1, 2, 8, 16))


def points(form: Form) -> list[tuple[int, int]]:
    """Revisions and workers."""
    every = [(form.revisions[0], workers) for workers in form.workers]
    every += [(revisions, form.workers[0]) for revisions in form.revisions[1:]]
    return sorted(every)


def measure(
    form: Form, sides: tuple[Side, ...], turns: int, results: Results, directory: Path
) -> None:
    """Each side runs three times in its turn: cold, warm, and with one revision more."""
    with benchmark_server(fsync=False) as server:
        results.describe("server, fsync off", server.description)
        for turn in range(turns):
            for revisions, workers in points(form):
                for side in (side for side in SIDES if side in sides):
                    root = directory / f"{side.name}_{revisions}_{workers}_{turn}"
                    key = Key(NAME, f"{revisions} revisions, {workers} workers", side.name, turn)
                    lay_out = partial(
                        Project, root, side, server.url, server.pid, form.tables, revisions
                    )
                    results.measure(key, partial(_run, lay_out, server, workers), server.pid)


def _run(lay_out: Callable[[], Project], server: BenchmarkServer, workers: int) -> dict[str, float]:
    project = lay_out()
    seconds = {}
    for state in STATES:
        if state == "revision added":
            project.add_revision()
        project.prepare(server, cold=state == "cold")
        numbers = {"BENCH_DIRTY": "1", "BENCH_ROWS": "1"}
        run = project.run("test_dirty.py", 2 * workers, f"-n{workers}", environment=numbers)
        first = [project.clock(f"gw{number}")["called"][0] for number in range(workers)]
        seconds[state] = max(first) - run.began
        seconds[f"{state}, CPU"] = run.cpu
    return seconds
