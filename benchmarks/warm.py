"""What one test costs when everything is there: against a database that was made by hand.

    python benchmarks/warm.py [--tables 100] [--rounds 15] [--workers 8]

Whole runs of pytest with one and the same async test, in turn with a control: an engine made by
hand in conftest.py, on a database that is there, and no plugin. On the embedded server:

    running    the plugin, while another run uses the server
    started    the plugin, which has to start the server

Then runs on that many workers: how long each waits for its database, from the moment when it asks,
and how often the server's log says CREATE DATABASE.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import asyncpg
from server import server_at

from pytest_pgtemplate import _embedded, _urls

PLUGINS = ("asyncio", "pgtemplate", "xdist")
INI = """
[pytest]
pg_name = warm
asyncio_mode = auto
asyncio_default_fixture_loop_scope = session
asyncio_default_test_loop_scope = session
"""
WITH_PLUGIN = """
from pathlib import Path
import pytest
from pytest_pgtemplate import SqlFiles

@pytest.fixture(scope="session")
def pg_migrations():
    return SqlFiles(Path(__file__).parents[1] / "schema.sql")
"""
BY_HAND = """
import os
import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

@pytest.fixture(scope="session")
async def engine():
    engine = create_async_engine(os.environ["BY_HAND"])
    yield engine
    await engine.dispose()

@pytest.fixture
async def pg_session(engine):
    async with async_sessionmaker(engine, expire_on_commit=False)() as session:
        yield session
"""
TEST = """
import pytest
from sqlalchemy import text

@pytest.mark.parametrize("n", range({tests}))
async def test_it(n, pg_session):
    assert await pg_session.scalar(text("SELECT count(*) FROM table_1")) >= 0
    await pg_session.execute(text("INSERT INTO table_1 (name) VALUES ('x')"))
    await pg_session.commit()
"""
TABLE = """
CREATE TABLE table_{n} (id serial PRIMARY KEY, name text, number int UNIQUE);
CREATE INDEX ON table_{n} (name);
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--workers", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgwarm", dir="/tmp") as name:
        work = Path(name)
        work.chmod(0o755)
        os.environ["XDG_CACHE_HOME"] = os.environ["HOME"] = str(work)
        for variable in ("PGTEMPLATE_URL", "PYTHONDONTWRITEBYTECODE"):  # or each run compiles us
            os.environ.pop(variable, None)
        schema = "".join(TABLE.format(n=n) for n in range(arguments.tables))
        (work / "schema.sql").write_text(schema)
        plugin = _project(work / "plugin", WITH_PLUGIN, tests=1)
        control = _project(work / "control", BY_HAND, tests=1)
        try:
            with server_at() as server:
                _make_by_hand(str(_urls.render(server.url)), schema)
                _run(plugin)
            _one_test(plugin, control, arguments.rounds)
            workers = _project(work / "workers", WITH_PLUGIN, tests=3 * arguments.workers)
            _workers(workers, arguments.workers, arguments.rounds)
        finally:
            _embedded.stop(None)


def _one_test(plugin: Path, control: Path, rounds: int) -> None:
    def by_hand() -> float:
        return _run(control, plugins=("asyncio", "xdist"))

    with server_at():
        running = [(by_hand(), _run(plugin)) for _ in range(rounds)]
    started = []
    for _ in range(rounds):
        with server_at():
            before = by_hand()
        _embedded.stop(None)
        started.append((before, _run(plugin)))
    for name, pairs in {"running": running, "started": started}.items():
        without, with_it = (1000 * statistics.median(each) for each in zip(*pairs, strict=True))
        over = 1000 * statistics.median(ours - other for other, ours in pairs)
        print(f"{name:8} {with_it:5.0f} ms, control {without:5.0f} ms: {over:+5.0f} ms")


def _workers(project: Path, workers: int, rounds: int) -> None:
    with server_at() as server:
        _sql(str(_urls.render(server.url)), "ALTER ROLE CURRENT_USER SET log_statement = 'ddl'")
        _run(project, "-n", str(workers))
        before = _created()
        last = []
        for _ in range(rounds):
            output = _output(project, "-n", str(workers), "--pg-stats")
            waits = [float(wait) for wait in re.findall(r"(?:spare|clone) ([\d.]+) s", output)]
            assert len(waits) == workers, output
            last.append(1000 * max(waits))
        made = _created() - before
    print(
        f"{workers} workers: the last has its database {statistics.median(last):.0f} ms after it"
        f" asked; CREATE DATABASE in {rounds} runs: {made}"
    )


def _created() -> int:
    status = _embedded.status(None)
    assert status is not None
    return status.log.read_text().count("CREATE DATABASE")


def _project(root: Path, conftest: str, *, tests: int) -> Path:
    root.mkdir()
    (root / "pytest.ini").write_text(INI)
    (root / "conftest.py").write_text(dedent(conftest))
    (root / "test_it.py").write_text(TEST.format(tests=tests))
    return root


def _run(project: Path, *arguments: str, plugins: Sequence[str] = PLUGINS) -> float:
    began = time.perf_counter()
    _output(project, *arguments, plugins=plugins)
    return time.perf_counter() - began


def _output(project: Path, *arguments: str, plugins: Sequence[str] = PLUGINS) -> str:
    """Run pytest with these plugins and no others: some import for longer than the test takes."""
    options = ["-q", "-p", "no:cacheprovider", *(f"-p{plugin}" for plugin in plugins)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=project,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout


def _make_by_hand(url: str, schema: str) -> None:
    by_hand = _urls.parse(url).set(database="by_hand")
    os.environ["BY_HAND"] = _urls.render(by_hand.set(drivername="postgresql+asyncpg"))

    _sql(url, "CREATE DATABASE by_hand")
    _sql(_urls.render(by_hand), schema)


def _sql(url: str, script: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(str(_urls.dsn(_urls.parse(url))))
        await connection.execute(script)
        await connection.close()

    asyncio.run(execute())


if __name__ == "__main__":
    main()
