"""What the plugin adds to each test: one suite of 1,000 tests, in turn with and without it.

    python benchmarks/suite.py [--rounds 15] [--tests 1000]

100 tables with a serial key and an index each. A third of the tests writes, a third reads, a third
does nothing with its session. Side by side, each on a database of its own on the embedded server:

    control     an engine of one's own, a session per test, nothing isolated
    truncate    ``pg_session``
    recipe      the savepoint recipe that people write by hand: one connection and one outer
                transaction per test, rolled back
    rollback    ``pg_session`` with ``isolation="rollback"``

Prints what a test takes as the median of the rounds, from the first test's start to the last one's
end, and the difference to the control, round by round. The first ten tests and the last one are not
counted: they carry what a run costs once.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from reset import execute, run
from runs import TIMER, milliseconds_per_test
from server import server_at

from pytest_pgtemplate import _urls
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server.marks import Mark

TABLES = 100
INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = session
asyncio_default_test_loop_scope = session
pg_name = benchmark_suite
pg_isolation = {isolation}
"""
SCHEMA = ";\n".join(
    f"CREATE TABLE t{n} (id serial PRIMARY KEY, a integer, b text); CREATE INDEX ON t{n} (a)"
    for n in range(TABLES)
)
CONFTEST = """
import os
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

"""
PLUGIN = """
from pytest_pgtemplate import SqlFiles

@pytest.fixture(scope="session")
def pg_migrations():
    return SqlFiles(Path(__file__).with_name("schema.sql"))

@pytest.fixture
def session(pg_session):
    return pg_session
"""
ENGINE = """
@pytest_asyncio.fixture(scope="session")
async def engine():
    engine = create_async_engine(os.environ["BENCHMARK_URL"])
    yield engine
    await engine.dispose()
"""
CONTROL = """
@pytest_asyncio.fixture
async def session(engine):
    async with async_sessionmaker(engine, expire_on_commit=False)() as session:
        yield session
"""
RECIPE = """
@pytest_asyncio.fixture
async def session(engine):
    async with engine.connect() as connection:
        transaction = await connection.begin()
        async with AsyncSession(
            bind=connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        ) as session:
            yield session
        await transaction.rollback()
"""
TEST = """
import pytest
from sqlalchemy import text

@pytest.mark.parametrize("n", range({tests}))
async def test_one(n, session):
    if n % 3 == 0:
        for table in (n % 100, (n + 1) % 100):
            await session.execute(text(f"INSERT INTO t{{table}} (a, b) VALUES (1, 'some text')"))
        await session.commit()
    elif n % 3 == 1:
        await session.execute(text(f"SELECT * FROM t{{n % 100}} LIMIT 10"))
"""
WAYS = {
    "control": ["-p", "no:pgtemplate"],
    "truncate": [],
    "recipe": ["-p", "no:pgtemplate"],
    "rollback": [],
}


def lay_out(root: Path, way: str, tests: int) -> None:
    root.mkdir()
    conftest = {"control": ENGINE + CONTROL, "recipe": ENGINE + RECIPE}.get(way, PLUGIN)
    (root / "schema.sql").write_text(SCHEMA)
    (root / "conftest.py").write_text(CONFTEST + TIMER + conftest)
    (root / "test_suite.py").write_text(TEST.format(tests=tests))
    ini = INI.format(isolation="rollback" if way == "rollback" else "truncate")
    if conftest is not PLUGIN:
        ini = "\n".join(line for line in ini.splitlines() if not line.startswith("pg_"))
    (root / "pytest.ini").write_text(ini)


def measure(root: Path, way: str, url: str, tests: int) -> float:
    """Milliseconds that a test takes."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *WAYS[way]]
    done = subprocess.run(
        command,
        cwd=root,
        env={**os.environ, "BENCHMARK_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{tests} passed" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]
    return milliseconds_per_test(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tests", type=int, default=1000)
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as directory, server_at() as server:
        name = f"benchmark_suite_{os.getpid()}"
        url = server.url.set(database=name)
        for way in WAYS:
            lay_out(Path(directory) / way, way, arguments.tests)
        try:
            for _ in range(arguments.rounds):
                for way in WAYS:
                    recreate_database(server, name)
                    engine_url = str(_urls.render(_urls.async_url(url)))
                    each = measure(Path(directory) / way, way, engine_url, arguments.tests)
                    found[way].append(each)
        finally:
            server.drop(name)
    report(found, arguments.tests, arguments.rounds)


def recreate_database(server: Server, name: str) -> None:
    """The control's database does not grow from round to round."""
    server.drop(name)
    server.create(name, Mark("worker", "bench"))
    run(execute(server.url.set(database=name), SCHEMA))


def report(found: dict[str, list[float]], tests: int, rounds: int) -> None:
    print(f"{tests} tests, {TABLES} tables, medians of {rounds} rounds, in ms a test")
    print("             takes   over control (quartiles)")
    for way, each in found.items():
        over = sorted(mine - control for mine, control in zip(each, found["control"], strict=True))
        quartiles = statistics.quantiles(over, n=4) if len(over) > 1 else over * 3
        print(
            f"{way:10} {statistics.median(each):7.3f}   {quartiles[1]:6.3f}"
            f"   ({quartiles[0]:.3f} .. {quartiles[2]:.3f})"
        )


if __name__ == "__main__":
    main()
