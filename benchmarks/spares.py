"""What becomes of a database that run after run takes and gives back, and what another one costs.

    python benchmarks/spares.py [--tables 100] [--generations 40]

A generation takes a spare, resets it 20 times after writing to five of its tables, rows of the
template among them, and gives it back. How much larger than the template is it after that, and how
long do its resets take, the first tenth of the generations against the last?

Then the same writes and resets, while clones are made in the background and while not, in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server import server_at

from pytest_pgtemplate._reset import install
from pytest_pgtemplate._server import Connection, Mark, Server, connect, portal
from pytest_pgtemplate._template import Template
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import WorkerDatabase, spares

TIMEOUT = 60.0  # seconds for any one step
RUN = uuid.uuid4().hex[:8]
PREFIX = f"bench_{RUN}"
ROUNDS = 20
PAIRS = 15
TABLE = """
CREATE TABLE table_{n} (id serial PRIMARY KEY, name text, number int UNIQUE);
CREATE INDEX ON table_{n} (name);
INSERT INTO table_{n} (name, number) SELECT 'row ' || n, n FROM generate_series(1, 20) AS n;
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--generations", type=int, default=40)
    arguments = parser.parse_args()
    with server_at() as server:
        print(f"{server}, {os.cpu_count()} CPUs")
        try:
            for tracking in ("triggers", "scan"):
                template = _template(server, arguments.tables, tracking)
                _generations(server, template, tracking, arguments.tables, arguments.generations)
            _beside_a_clone(server, template, arguments.tables)
        finally:
            for database in server.databases():
                if database.name.startswith(PREFIX):
                    server.drop(database.name)


def _generations(
    server: Server, template: Template, tracking: str, tables: int, generations: int
) -> None:
    sizes: list[float] = []
    times: list[float] = []
    for generation in range(generations):
        worker = _worker(server, template)
        assert worker.from_spare or not generation
        with _session(worker) as execute:
            resets = [_reset(worker, execute, generation + n, tables) for n in range(ROUNDS)]
        worker.close()
        times.append(statistics.median(resets))
        sizes.append(_growth(server, template))
    tenth = max(1, generations // 10)
    ratio = statistics.median(times[-tenth:]) / statistics.median(times[:tenth])
    shown = ", ".join(
        f"{sizes[n - 1]:.1f} MB after {n}" for n in (1, tenth, generations // 2, generations)
    )
    print(f"{tracking}: larger by {shown}; resets {ratio:.2f} times as long in the last tenth")


def _beside_a_clone(server: Server, template: Template, tables: int) -> None:
    worker = _worker(server, template)
    other = Server(server.url, timeout=TIMEOUT)
    times: dict[bool, list[float]] = {True: [], False: []}
    with _session(worker) as execute:
        for number in range(PAIRS * 2):
            beside = number % 2 == 1
            if beside:
                worker._spare_pool._start(lambda _: True)
            times[beside] += [_reset(worker, execute, n, tables) for n in range(ROUNDS)]
            if beside:
                worker._spare_pool._closed.set()
                worker._spare_pool.wait()
                worker._spare_pool._closed.clear()
                for spare in spares.list_spares(template.name, other.databases()):
                    other.drop(spare.name)
    worker.close(drop=True)
    other.close()
    idle, busy = (1000 * statistics.median(times[each]) for each in (False, True))
    print(f"ten writes and their reset: {idle:.2f} ms, beside a clone {busy:.2f} ms")


def _reset(worker: WorkerDatabase, execute: Callable[[str], None], seed: int, tables: int) -> float:
    began = time.perf_counter()
    for n in range(5):
        table = f"table_{(seed * 5 + n) % tables}"
        execute(f"INSERT INTO {table} (name) SELECT 'new' FROM generate_series(1, 50)")
        execute(f"UPDATE {table} SET name = 'changed' WHERE number = {n}")
    outcome = worker.reset()
    assert outcome.reclone_reason is None
    return time.perf_counter() - began


def _growth(server: Server, template: Template) -> float:
    """In MB."""
    (spare,) = spares.list_spares(template.name, server.databases())
    query = "SELECT pg_database_size($1::text) - pg_database_size($2::text)"
    return float(server._fetch(query, spare.name, template.name)[0][0]) / 2**20


def _worker(server: Server, template: Template) -> WorkerDatabase:
    return WorkerDatabase(server, template, database_names.worker(PREFIX, RUN, "main"), RUN)


def _template(server: Server, tables: int, tracking: str) -> Template:
    fingerprint = uuid.uuid4().hex * 2
    scratch, name = (
        database_names.scratch(PREFIX, RUN),
        database_names.template(PREFIX, fingerprint),
    )
    server.create(scratch, Mark("scratch", RUN, fingerprint))
    url = server.url.set(database=scratch)
    schema = "".join(TABLE.format(n=n) for n in range(tables))
    connection = portal.run(connect(url, timeout=TIMEOUT, application="benchmark"), timeout=TIMEOUT)
    portal.run(connection.execute(schema), timeout=TIMEOUT)
    portal.run(connection.close(), timeout=TIMEOUT)
    state = install(url, tracking, timeout=TIMEOUT)
    server.publish(scratch, name, Mark("template", RUN, fingerprint, state=state))
    return Template(name, fingerprint, built=True)


@contextmanager
def _session(worker: WorkerDatabase) -> Iterator[Callable[[str], None]]:
    opening = connect(worker.database.url, timeout=TIMEOUT, application="benchmark")
    connection: Connection = portal.run(opening, timeout=TIMEOUT)
    yield lambda statement: portal.run(connection.execute(statement), timeout=TIMEOUT)
    portal.run(connection.close(), timeout=TIMEOUT)


if __name__ == "__main__":
    main()
