import asyncio
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from pytest_pgtemplate import SqlFiles


@pytest.fixture(scope="session")
def pg_migrations():
    return SqlFiles(Path(__file__).parents[1] / "schema.sql")


@pytest.fixture(scope="session")
def worker(pg_database):
    """One worker for all tests. It finds the database in the environment, as in production."""
    with subprocess.Popen([sys.executable, "-m", "jobs"], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.terminate()


@pytest.fixture
async def connection(pg):
    connection = await asyncpg.connect(pg.dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def done(worker, connection):
    """A queue of the jobs that the worker has done: a test awaits what it has begun."""
    queue = asyncio.Queue()
    await connection.add_listener("job_done", lambda *message: queue.put_nowait(int(message[-1])))
    return queue
