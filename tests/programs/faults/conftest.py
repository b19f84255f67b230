"""Each test compares its database, at its beginning, with what it has to hold by then."""

import asyncio
import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text

from pytest_pgtemplate import Database
from pytest_pgtemplate._engines import Shared
from pytest_pgtemplate._fixtures.preparation import Preparation

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public'"
TEMPLATE = {"author": ["Ada"], "book": [], "author_id_seq": 1, "book_id_seq": None}

expected: dict[str, object] = dict(TEMPLATE)  # the names in each table, and each sequence's value


def noting_when(work: Callable[[Preparation], None]) -> Callable[[Preparation], None]:
    """Write down when the thread of this process has prepared the databases."""

    @functools.wraps(work)
    def noted(self: Preparation) -> None:
        began = time.monotonic()
        try:
            work(self)
        finally:
            with Path(os.environ["FAULTS_PREPARATIONS"]).open("a") as file:
                file.write(f"{os.getpid()} {began} {time.monotonic()}\n")

    return noted


Preparation._work = noting_when(Preparation._work)  # type: ignore[method-assign]


def share(pg_shared: Shared, table: str, name: str, then: dict[str, object]) -> Iterator[None]:
    with pg_shared.sync_sessionmaker.begin() as session:
        session.execute(text(f"INSERT INTO {table} (name) VALUES ('{name}')"))
    expected.update(then)
    yield
    expected.update({key: TEMPLATE[key] for key in then})


@pytest.fixture(scope="session", autouse=True)
def shared_author(pg_shared: Shared) -> Iterator[None]:
    after = {"author": ["Ada", "Bell"], "author_id_seq": 2}
    yield from share(pg_shared, "author", "Bell", after)


@pytest.fixture(scope="module")
def shared_book(pg_shared: Shared) -> Iterator[None]:
    yield from share(pg_shared, "book", "Notes", {"book": ["Notes"], "book_id_seq": 1})


@pytest.fixture
def exact(request: pytest.FixtureRequest, pg_database: Database) -> None:
    """Requested last. A difference is also written down: a test may fail for another reason."""
    found = asyncio.run(read_state(pg_database.name))
    if found != expected:
        with Path(os.environ["FAULTS_WRONG"]).open("a") as file:
            file.write(f"{request.node.nodeid}: {found} instead of {expected}\n")
    assert found == expected


async def read_state(database: str) -> dict[str, object]:
    """Read it past the proxy."""
    connection = await asyncpg.connect(os.environ["FAULTS_SERVER"], database=database)
    try:
        state: dict[str, object] = dict(await connection.fetch(SEQUENCES))
        for [table] in await connection.fetch(TABLES):
            if table != "alembic_version":
                names = await connection.fetch(f"SELECT name FROM {table} ORDER BY name")
                state[table] = [name for [name] in names]
        return state
    finally:
        await connection.close()
