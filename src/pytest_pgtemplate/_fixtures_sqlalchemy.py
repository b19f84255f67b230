"""The fixtures over this worker's database: engines, sessions and connections. All are sync.

An engine is made when a test first asks for it, and kept for the tests after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_pgtemplate._run import Run, fail
from pytest_pgtemplate.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import (
        AsyncConnection,
        AsyncEngine,
        AsyncSession,
        async_sessionmaker,
    )
    from sqlalchemy.orm import Session, sessionmaker

    from pytest_pgtemplate._engines import Pools, Shared
    from pytest_pgtemplate._worker import Database


@pytest.fixture(scope="session")
def _pg_pools(_pg_run: Run, pg_database: Database) -> Iterator[Pools]:
    from pytest_pgtemplate._engines import Pools

    pools = Pools(pg_database.url)
    with _pg_run.for_tests(pools):
        yield pools
    pools.close()


@pytest.fixture(scope="session")
def pg_shared(_pg_run: Run, pg_database: Database, pg_url: str) -> Iterator[Shared]:
    """For fixtures wider than ``function``: ``.engine``, ``.sessionmaker``, ``.sync_engine``,
    ``.sync_sessionmaker``, ``.url`` and ``.dsn``.
    """
    from pytest_pgtemplate._engines import Pools, Shared

    pools = Pools(pg_database.url)  # not those of the tests, who close what is open after each
    with _pg_run.forgetting(pools):
        yield Shared(pools, pg_url, pg_database.dsn)
    pools.close()


@pytest.fixture
def pg_engine(
    request: pytest.FixtureRequest, pg: Database, _pg_pools: Pools
) -> Iterator[AsyncEngine]:
    """An ``AsyncEngine`` on this worker's database. What the test leaves open is closed for it."""
    _refuse_trio(request)
    pool = _pg_pools.of_async()
    yield pool.view()
    pool.close_open()


def _refuse_trio(request: pytest.FixtureRequest) -> None:
    if "anyio_backend" not in request.fixturenames:
        return
    backend = request.getfixturevalue("anyio_backend_name")
    if backend != "asyncio":
        error = ConfigurationError(
            f"pg_engine needs asyncio, and anyio runs this test under {backend}",
            hint='asyncpg and psycopg know no other: let a fixture anyio_backend return "asyncio",'
            " or use pg_sync_session",
        )
        fail(error)


@pytest.fixture
def pg_sessionmaker(pg_engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """An ``async_sessionmaker``, with ``expire_on_commit=False``."""
    from sqlalchemy.ext.asyncio import async_sessionmaker

    return async_sessionmaker(pg_engine, expire_on_commit=False)


@pytest.fixture
def pg_session(
    request: pytest.FixtureRequest,
    _pg_run: Run,
    pg_sessionmaker: async_sessionmaker[AsyncSession],
) -> AsyncSession:
    """An ``AsyncSession``; under ``isolation="rollback"`` on ``pg_connection``."""
    if _pg_run.rolls_back(request.node):
        connection = request.getfixturevalue("pg_connection")
        return pg_sessionmaker(bind=connection, join_transaction_mode="create_savepoint")
    return pg_sessionmaker()


@pytest.fixture
def pg_connection(
    request: pytest.FixtureRequest, _pg_run: Run, _pg_pools: Pools, pg_engine: AsyncEngine
) -> Iterator[AsyncConnection]:
    """An ``AsyncConnection``, which connects when it is first used."""
    from pytest_pgtemplate._engines import connect_on_use

    if _pg_run.rolls_back(request.node):
        pool = _pg_pools.of_async(nested=True)
        yield connect_on_use(pool.view())
        pool.close_open()
    else:
        yield connect_on_use(pg_engine)


@pytest.fixture
def pg_sync_engine(_pg_run: Run, pg: Database, _pg_pools: Pools) -> Iterator[Engine]:
    """An ``Engine`` on this worker's database. What the test leaves open is closed for it."""
    with _pg_run.reports.once("pg_sync_engine"):
        pool = _pg_pools.of_sync()
    yield pool.view()
    pool.close_open()


@pytest.fixture
def pg_sync_sessionmaker(pg_sync_engine: Engine) -> sessionmaker[Session]:
    """A ``sessionmaker``, with ``expire_on_commit=False``."""
    from sqlalchemy.orm import sessionmaker

    return sessionmaker(pg_sync_engine, expire_on_commit=False)


@pytest.fixture
def pg_sync_session(
    request: pytest.FixtureRequest,
    _pg_run: Run,
    _pg_pools: Pools,
    pg_sync_sessionmaker: sessionmaker[Session],
) -> Iterator[Session]:
    """A ``Session``; under ``isolation="rollback"`` in a transaction that is never committed."""
    if _pg_run.rolls_back(request.node):
        pool = _pg_pools.of_sync(nested=True)
        connection = pool.view().connect()
        yield pg_sync_sessionmaker(bind=connection, join_transaction_mode="create_savepoint")
        pool.close_open()
    else:
        yield pg_sync_sessionmaker()
