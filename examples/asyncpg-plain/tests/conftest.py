from pathlib import Path

import asyncpg
import pytest

from pytest_pgtemplate import SqlFiles


@pytest.fixture(scope="session")
def pg_migrations():
    return SqlFiles(Path(__file__).parents[1] / "schema.sql")


@pytest.fixture(scope="session")
async def session_pool(pg_database):
    """The application's pool, opened once for all tests of a worker."""
    async with asyncpg.create_pool(pg_database.dsn, min_size=1) as pool:
        yield pool


@pytest.fixture
def pool(pg, session_pool):
    return session_pool
