"""Whether resets become slower as they go on: the last of 10,000 beside the first.

    python benchmarks/bloat.py [URL] [--rounds 10000]

Before each reset a test inserts rows into three of fifty tables, or changes rows of the template's:
both leave dead rows behind. Medians of the first and the last twentieth are printed, in ms, and
their ratio. Without a URL it is PGTEMPLATE_URL's, else the embedded server.
"""

from __future__ import annotations

import argparse
import statistics

from reset import DIRTY, TIMEOUT, connect, databases, run, schema, timed
from server import server_at

from pytest_pgtemplate._reset import Resetter
from pytest_pgtemplate._server import Server

TABLES = 50
REFERENCE = 100  # rows of the template's

WORK = {
    "new rows in three tables": ";".join(
        f"INSERT INTO t{n} (a, b) SELECT g, 'some text' FROM generate_series(1, 20) g"
        for n in range(DIRTY)
    ),
    "rows of the template's updated": "UPDATE reference SET b = 'changed' WHERE id <= 10",
    "rows of the template's deleted": "DELETE FROM reference WHERE id > 90",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="?")
    parser.add_argument("--rounds", type=int, default=10_000)
    arguments = parser.parse_args()
    with server_at(arguments.url) as server:
        print(f"PostgreSQL {server.version}; {arguments.rounds} resets each, medians in ms\n")
        print(f"{'before each reset':32} first   last  ratio")
        for what, statement in WORK.items():
            first, last = resets(server, statement, arguments.rounds)
            print(f"{what:32} {first:5.2f}  {last:5.2f}  {last / first:4.2f}x", flush=True)


def resets(server: Server, statement: str, rounds: int) -> tuple[float, float]:
    sql = schema(TABLES, serial=True) + (
        ";CREATE TABLE reference (id integer PRIMARY KEY, b text)"
        f";INSERT INTO reference SELECT g, 'as it was' FROM generate_series(1, {REFERENCE}) g"
    )
    times = []
    with databases(server, sql) as (_, tracked):
        tester = connect(tracked)
        resetter = Resetter(tracked, timeout=TIMEOUT)
        for _ in range(rounds):
            run(tester.execute(statement))
            times.append(timed(resetter.reset))
        resetter.close()
        run(tester.close())
    few = max(1, rounds // 20)
    return statistics.median(times[:few]), statistics.median(times[-few:])


if __name__ == "__main__":
    main()
