"""A reset beside what it replaces: TRUNCATE of every table, CASCADE. Both sides in one run.

    python benchmarks/reset.py [URL] [--rounds 200]

For 10, 100 and 500 tables, three of them written to. The sides take turns on the same server, ten
rounds each, so that a noisy machine is noisy for both; medians and their ratio are printed. (Not
round by round: a TRUNCATE of 500 tables empties the catalog caches of every session on the server.)
Without a URL it is PGTEMPLATE_URL's, else the embedded server.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
from server import server_at
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._reset import Resetter, install
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server import portal as _portal
from pytest_pgtemplate._server.marks import Mark

DIRTY = 3
BLOCK = 10
TIMEOUT = 600.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="?")
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    with server_at(arguments.url) as server:
        print(f"PostgreSQL {server.version}; medians of {arguments.rounds} rounds, in ms\n")
        print("tables  sequences  TRUNCATE all  reset  ratio  nothing written  SELECT 1  ratio")
        for tables in (10, 100, 500):
            for serial in (False, True):
                print(compare(server, tables, serial=serial, rounds=arguments.rounds))
        print(cost_of_tracking(server, arguments.rounds))
        print(over_layers(server, max(5, arguments.rounds // 20)))


def compare(server: Server, tables: int, *, serial: bool, rounds: int) -> str:
    with databases(server, schema(tables, serial=serial)) as (plain, tracked):
        classic = connect(plain)
        tester = connect(tracked)
        every = "TRUNCATE " + ", ".join(f"t{n}" for n in range(tables)) + " CASCADE"
        resetter = Resetter(tracked, timeout=TIMEOUT)
        truncate, reset, nothing, select = [], [], [], []
        for _ in range(rounds // BLOCK):
            for _ in range(BLOCK):
                write(classic)
                truncate.append(timed(lambda: run(classic.execute(every))))
            for _ in range(BLOCK):
                write(tester)
                reset.append(timed(resetter.reset))
                nothing.append(timed(resetter.reset))
                select.append(timed(lambda: resetter._run(one(resetter._connection))))
        resetter.close()
        run(classic.close())
        run(tester.close())
    t, r, n, s = map(statistics.median, (truncate, reset, nothing, select))
    return (
        f"{tables:6}  {tables if serial else 0:9}  {t:12.2f}  {r:5.2f}  {t / r:4.0f}x"
        f"  {n:15.3f}  {s:8.3f}  {n / s:4.1f}x"
    )


async def one(connection: Any) -> None:
    """A SELECT 1 as the reset is called: prepared, one round trip."""
    if "one" not in _prepared or _prepared["one"][0] is not connection:
        _prepared["one"] = (connection, await connection.prepare("SELECT 1"))
    await _prepared["one"][1].fetchval()


_prepared: dict[str, Any] = {}


def cost_of_tracking(server: Server, rounds: int) -> str:
    """What the triggers add to the test's own statements."""
    with databases(server, schema(10, serial=True)) as (plain, tracked):
        sides = {name: connect(url) for name, url in (("plain", plain), ("tracked", tracked))}
        lines = []
        for what, statement, repeat in (
            ("single-row INSERT", insert, rounds * 10),
            ("COPY of 100,000 rows", copy, max(5, rounds // 20)),
        ):
            times: dict[str, list[float]] = {name: [] for name in sides}
            for _ in range(repeat):
                for name, connection in sides.items():
                    times[name].append(timed(lambda c=connection, s=statement: run(s(c))))  # type: ignore[misc]
            before, after = (statistics.median(times[name]) for name in ("plain", "tracked"))
            lines.append(
                f"{what}: {before:.3f} -> {after:.3f} ms, {100 * (after / before - 1):+.1f} %"
            )
        for connection in sides.values():
            run(connection.close())
    return "\n" + "\n".join(lines)


LAYERS = {
    "no layer": [],
    "three layers": [(50, 100), (51, 100), (52, 100)],
    "a layer of 100,000 rows": [(50, 100_000)],
    "the same, in a table that is written to": [(0, 100_000)],
}  # table, rows


def over_layers(server: Server, rounds: int) -> str:
    """The same reset, with shared data below it: 100 tables, three written to."""
    times: dict[str, list[float]] = {name: [] for name in LAYERS}
    with databases(server, schema(100, serial=False)) as (_, tracked):
        tester, resetter = connect(tracked), Resetter(tracked, timeout=TIMEOUT)
        for _ in range(rounds):
            for name, layers in LAYERS.items():
                for number, (table, rows) in enumerate(layers, start=1):
                    values = f"SELECT g + 1 FROM generate_series(1, {rows}) AS g"
                    fill = f"INSERT INTO t{table} (id) {values}"
                    run(tester.execute(fill))
                    resetter.add_layer(number)
                for _ in range(BLOCK):
                    write(tester)
                    times[name].append(timed(resetter.reset))
                resetter.reset(range(1, len(layers) + 1))
        resetter.close()
        run(tester.close())
    none = statistics.median(times["no layer"])
    return "\nreset over\n" + "\n".join(
        f"{name:40} {statistics.median(each):6.2f} ms  {statistics.median(each) / none:5.2f}x"
        for name, each in times.items()
    )


async def insert(connection: Any) -> None:
    await connection.execute("INSERT INTO t0 (a, b) VALUES (1, 'some text')")


async def copy(connection: Any) -> None:
    await connection.execute("TRUNCATE t0 CASCADE")
    rows = [(n, n, "some text") for n in range(100_000)]
    await connection.copy_records_to_table("t0", records=rows, columns=["id", "a", "b"])


def schema(tables: int, *, serial: bool) -> str:
    key = "serial" if serial else "integer"
    return ";".join(
        f"CREATE TABLE t{n} (id {key} PRIMARY KEY, a integer, b text,"
        f" parent integer REFERENCES t{max(n - 1, 0)}); CREATE INDEX ON t{n} (a)"
        for n in range(tables)
    )


def write(connection: Any) -> None:
    statements = (f"INSERT INTO t{n} (id, a, b) VALUES (1, 1, 'some text')" for n in range(DIRTY))
    run(connection.execute(";".join(statements)))


@contextmanager
def databases(server: Server, sql: str) -> Iterator[tuple[URL, URL]]:
    """Two databases with one schema: one as it is, one made resettable."""
    mark = Mark("worker", "bench")
    names = [f"bench_{os.getpid()}_{kind}" for kind in ("plain", "tracked")]
    for name in names:
        server.lease(name)
        server.create(name, mark)
        run(execute(server.url.set(database=name), sql))
    plain, tracked = (server.url.set(database=name) for name in names)
    install(tracked, "triggers", timeout=TIMEOUT)
    try:
        yield plain, tracked
    finally:
        for name in names:
            server.drop(name)


async def execute(url: URL, sql: str) -> None:
    connection = await asyncpg.connect(str(_urls.dsn(url)))
    for statement in sql.split(";"):
        await connection.execute(statement)
    await connection.close()


def connect(url: URL) -> Any:
    return run(asyncpg.connect(str(_urls.dsn(url))))


def run(coroutine: Any) -> Any:
    return _portal.run(coroutine, timeout=TIMEOUT)


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
