"""What a test takes: against the number of tables, of tables written to, and of rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

from peers.databases import BenchmarkServer, benchmark_server
from peers.project import Project
from peers.results import Key, Results
from peers.sides import (
    CLASSIC,
    DATABASE_PER_TEST,
    DJANGO,
    FLOOR,
    MOCK_RESOURCES,
    PGTEMPLATE,
    PGTESTDBPY,
    PYTEST_POSTGRESQL,
    SAVEPOINT,
    Side,
)

NAME = "reset"
SIDES = (
    FLOOR,
    PGTEMPLATE,
    SAVEPOINT,
    CLASSIC,
    DJANGO,
    PYTEST_POSTGRESQL,
    MOCK_RESOURCES,
    PGTESTDBPY,
)
# Divisors of the number of tests, for sides that take about 0.1 s or 1 s per test.
FEWER_TESTS = {CLASSIC: 10, DJANGO: 10} | dict.fromkeys(DATABASE_PER_TEST, 40)
LARGE = 4  # a further divisor, with many tables or rows
LEAST_TESTS = 8


@dataclass(frozen=True)
class Form:
    """Tests of a run on the fastest sides, and the points of the three axes."""

    tests: int
    tables: tuple[int, ...]
    dirty: tuple[int, ...] = ()
    rows: tuple[int, ...] = ()


TINY = Form(tests=8, tables=(10,), rows=(10,))
QUICK = Form(tests=400, tables=(100,))
FULL = Form(
    tests=400,
    tables=(10, 50, 100, 250, 500, 1000),
    dirty=(1, 3, 10, 30, 100),
    rows=(1, 10, 100, 1_000, 10_000, 100_000),
)


@dataclass(frozen=True)
class Point:
    """How many tables there are, how many a test writes to, and how many rows into each."""

    axis: str
    tables: int = 100
    dirty: int = 3
    rows: int = 1

    def __str__(self) -> str:
        return f"{self.axis} {getattr(self, self.axis)}"

    def tests(self, form: Form, side: Side) -> int:
        fewer = FEWER_TESTS.get(side, 1)
        if self.tables >= 500 or self.dirty * self.rows >= 10_000:
            fewer *= LARGE
        return max(form.tests // fewer, LEAST_TESTS)


def points(form: Form) -> list[Point]:
    return [
        *(Point("tables", tables=number) for number in form.tables),
        *(Point("dirty", dirty=min(number, 100)) for number in form.dirty),
        *(Point("rows", dirty=1, rows=number) for number in form.rows),
    ]


def measure(
    form: Form, sides: tuple[Side, ...], turns: int, results: Results, directory: Path
) -> None:
    """One process per run; the time from the start of a test to that of the next, the median."""
    projects: dict[tuple[str, int], Project] = {}
    with benchmark_server(fsync=False) as server:
        results.describe("server, fsync off", server.description)
        for turn in range(turns):
            for each in points(form):
                for side in (side for side in SIDES if side in sides):
                    place = (side.name, each.tables)
                    if place not in projects:
                        root = directory / f"{side.name}_{each.tables}"
                        projects[place] = Project(
                            root, side, server.url, server.pid, each.tables, revisions=1
                        )
                    tests = each.tests(form, side)
                    key = Key(NAME, str(each), side.name, turn)
                    run = partial(_run, projects[place], server, each, tests)
                    results.measure(key, run, server.pid)


def _run(project: Project, server: BenchmarkServer, each: Point, tests: int) -> dict[str, float]:
    project.prepare(server, cold=True)
    file = "test_dirty_django.py" if project.side is DJANGO else "test_dirty.py"
    uncounted = tests // 4  # they carry what a run costs once, in the background, too
    numbers = {
        "BENCH_DIRTY": str(each.dirty),
        "BENCH_ROWS": str(each.rows),
        "BENCH_UNCOUNTED": str(uncounted),
    }
    project.run(file, tests, environment=numbers)
    clock = project.clock()
    began = clock["began"][uncounted:]
    cpu = (clock["cpu"][-1] - clock["cpu"][0]) / (len(began) - 1)
    return {
        "wall": 1000 * median(after - before for before, after in pairwise(began)),
        "CPU": 1000 * cpu,
    }
