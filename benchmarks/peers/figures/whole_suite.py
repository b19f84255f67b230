"""The whole suite: wall time of ``pytest -n`` and CPU time of all processes, cold and warm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from peers.databases import BenchmarkServer, benchmark_server
from peers.project import Project
from peers.results import Key, Results
from peers.sides import (
    CLASSIC,
    DATABASE_PER_TEST,
    FLOOR,
    MOCK_RESOURCES,
    PGTEMPLATE,
    PGTESTDBPY,
    PYTEST_POSTGRESQL,
    SAVEPOINT,
    Side,
)

NAME = "suite"
SIDES = (
    FLOOR,
    PGTEMPLATE,
    SAVEPOINT,
    CLASSIC,
    PYTEST_POSTGRESQL,
    MOCK_RESOURCES,
    PGTESTDBPY,
)
# A run with a database per test takes about 8 minutes, so one point has to do, with fsync off.
WORKERS_FOR_DATABASE_PER_TEST = 2
# What they keep for the next run saves at most a second of minutes: one run is both.
MEASURED_ONCE = (CLASSIC, *DATABASE_PER_TEST)


@dataclass(frozen=True)
class Form:
    """``fsync_workers``: the numbers of workers that are measured on a server with fsync on.

    ``left_out``: sides that cost as much per test as pytest-postgresql.
    """

    tests: int
    tables: int
    revisions: int
    workers: tuple[int, ...]
    fsync_workers: tuple[int, ...] = ()
    left_out: tuple[Side, ...] = ()


TINY = Form(tests=40, tables=10, revisions=10, workers=(2,))
QUICK = Form(
    tests=80,
    tables=100,
    revisions=100,
    workers=(2,),
    left_out=(MOCK_RESOURCES, PGTESTDBPY),
)
FULL = Form(tests=1000, tables=100, revisions=100, workers=(1, 2, 4), fsync_workers=(2,))


def point(form: Form, workers: int, *, fsync: bool) -> str:
    return f"-n {workers}, fsync {'on' if fsync else 'off'}, {form.tests} tests"


def measure(
    form: Form, sides: tuple[Side, ...], turns: int, results: Results, directory: Path
) -> None:
    """Each side runs twice in its turn: with nothing there, and with what the first run left.

    Those of ``MEASURED_ONCE`` run once.
    """
    for fsync, numbers in ((False, form.workers), (True, form.fsync_workers)):
        if not numbers:
            continue
        with benchmark_server(fsync=fsync) as server:
            results.describe(f"server, fsync {'on' if fsync else 'off'}", server.description)
            projects = [
                Project(
                    directory / f"{side.name}_{fsync}",
                    side,
                    server.url,
                    server.pid,
                    form.tables,
                    form.revisions,
                )
                for side in SIDES
                if side in sides and side not in form.left_out
            ]
            for turn in range(turns):
                for workers in numbers:
                    for project in projects:
                        if project.side in DATABASE_PER_TEST and (
                            fsync or workers != WORKERS_FOR_DATABASE_PER_TEST
                        ):
                            continue
                        key = Key(NAME, point(form, workers, fsync=fsync), project.side.name, turn)
                        run = partial(_cold_and_warm, project, server, form, workers)
                        results.measure(key, run, server.pid)


def _cold_and_warm(
    project: Project, server: BenchmarkServer, form: Form, workers: int
) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for state in ("cold", "warm"):
        if state == "warm" and project.side in MEASURED_ONCE:
            return seconds | {"warm": seconds["cold"], "warm, CPU": seconds["cold, CPU"]}
        project.prepare(server, cold=state == "cold")
        run = project.run("test_suite.py", form.tests, "-n", str(workers))
        seconds[state] = run.seconds
        seconds[f"{state}, CPU"] = run.cpu
    return seconds
