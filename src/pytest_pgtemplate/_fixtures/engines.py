"""The fixtures on top of a worker's database: engines, sessions and connections. All are sync.

An engine is created for the first test that requests it, and reused by later tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pytest_pgtemplate._fixtures.factory import fixture
from pytest_pgtemplate._run import fail, fails
from pytest_pgtemplate.errors import ConfigurationError

if TYPE_CHECKING:
    import pytest
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import (
        AsyncConnection,
        AsyncEngine,
        AsyncSession,
        async_sessionmaker,
    )
    from sqlalchemy.orm import Session, sessionmaker

    from pytest_pgtemplate._engines import Engines, Shared
    from pytest_pgtemplate._run.isolated_database import IsolatedDatabase
    from pytest_pgtemplate._worker import Database


@fixture(scope="session")
def pg_engine_options() -> dict[str, Any]:
    """Keywords for ``create_async_engine`` and ``create_engine``. Override it."""
    return {}


@fixture(scope="session")
def pg_session_options() -> dict[str, Any]:
    """Keywords for ``async_sessionmaker`` and ``sessionmaker``. Override it."""
    return {}


@fixture(scope="session")
def _pg_engines(
    _pg: IsolatedDatabase, pg_database: Database, pg_engine_options: dict[str, Any]
) -> Iterator[Engines]:
    from pytest_pgtemplate._engines import Engines

    with _pg.reported_once("_pg_engines"):
        _pg.override_conflicts.refuse("_pg_engines")
        engines = Engines(pg_database.url, pg_engine_options, _pg.engines.lock_waits_limited)
    with _pg.engines.reset_after_tests(engines):
        yield engines
    engines.close()


@fixture(scope="session")
def pg_shared(
    _pg: IsolatedDatabase,
    pg_database: Database,
    pg_url: str,
    pg_engine_options: dict[str, Any],
    pg_session_options: dict[str, Any],
) -> Iterator[Shared]:
    """For fixtures wider than ``function``: ``.engine``, ``.sessionmaker``, ``.url``, ``.dsn``, ..

    The sync ones are ``.sync_engine`` and ``.sync_sessionmaker``.
    """
    from pytest_pgtemplate._engines import Engines, Shared

    with _pg.reported_once("pg_shared"):
        _pg.override_conflicts.refuse("pg_shared")
        # Not the engines of the tests: those close everything after each test.
        engines = Engines(pg_database.url, pg_engine_options, _pg.engines.lock_waits_limited)
    with _pg.engines.shared_by_tests(engines):
        yield Shared(engines, pg_session_options, pg_url, pg_database.dsn)
    engines.close()


@fixture()
def pg_engine(
    request: pytest.FixtureRequest, _pg: IsolatedDatabase, _pg_engines: Engines
) -> Iterator[AsyncEngine]:
    """An ``AsyncEngine`` on this worker's database. The plugin closes what the test leaves open."""
    _refuse_trio(request, _pg)
    _pg.mark_used()
    with _pg.reported_once("pg_engine"):
        pool = _pg_engines.async_engine()
    with _pg.engines.limit_lock_waits(limited=_pg.rolls_back(request.node)):
        yield pool.engine_for_test()
        pool.close_open()


def _refuse_trio(request: pytest.FixtureRequest, isolated: IsolatedDatabase) -> None:
    if "anyio_backend" not in request.fixturenames:
        return
    backend = request.getfixturevalue("anyio_backend_name")
    if backend != "asyncio":
        error = ConfigurationError(
            f"{isolated.fixture_name('pg_engine')} needs asyncio, but anyio runs this test with"
            f" {backend}",
            hint='override the fixture anyio_backend and return "asyncio", or use'
            f" {isolated.fixture_name('pg_sync_session')}: the drivers support asyncio only",
        )
        fail(error)


@fixture()
def pg_sessionmaker(
    pg_engine: AsyncEngine, pg_session_options: dict[str, Any]
) -> Iterator[async_sessionmaker[AsyncSession]]:
    """An ``async_sessionmaker``, with ``expire_on_commit=False``."""
    from pytest_pgtemplate._engines import async_sessions, emptied

    with fails():
        maker = async_sessions(pg_engine, pg_session_options)
    with emptied(maker):
        yield maker


@fixture()
def pg_session(
    request: pytest.FixtureRequest,
    _pg: IsolatedDatabase,
    pg_sessionmaker: async_sessionmaker[AsyncSession],
) -> AsyncSession:
    """An ``AsyncSession``; under ``isolation="rollback"`` on ``pg_connection``."""
    if _pg.rolls_back(request.node):
        connection = request.getfixturevalue(_pg.fixture_name("pg_connection"))
        return pg_sessionmaker(bind=connection, join_transaction_mode="create_savepoint")
    return pg_sessionmaker()


@fixture()
def pg_connection(
    request: pytest.FixtureRequest,
    _pg: IsolatedDatabase,
    _pg_engines: Engines,
    pg_engine: AsyncEngine,
) -> Iterator[AsyncConnection]:
    """An ``AsyncConnection`` that connects on first use."""
    from pytest_pgtemplate._internals.sqlalchemy import connect_on_use

    if _pg.rolls_back(request.node):
        with fails():
            pool = _pg_engines.async_engine(nested=True)
        yield connect_on_use(pool.engine_for_test(events_of=pg_engine))
        pool.close_open()
    else:
        yield connect_on_use(pg_engine)


@fixture()
def pg_sync_engine(
    request: pytest.FixtureRequest, _pg: IsolatedDatabase, _pg_engines: Engines
) -> Iterator[Engine]:
    """An ``Engine`` on this worker's database. The plugin closes what the test leaves open."""
    _pg.mark_used()
    with _pg.reported_once("pg_sync_engine"):
        pool = _pg_engines.sync_engine()
    with _pg.engines.limit_lock_waits(limited=_pg.rolls_back(request.node)):
        yield pool.engine_for_test()
        pool.close_open()


@fixture()
def pg_sync_sessionmaker(
    pg_sync_engine: Engine, pg_session_options: dict[str, Any]
) -> Iterator[sessionmaker[Session]]:
    """A ``sessionmaker``, with ``expire_on_commit=False``."""
    from pytest_pgtemplate._engines import emptied, sync_sessions

    with fails():
        maker = sync_sessions(pg_sync_engine, pg_session_options)
    with emptied(maker, base=maker.class_.__base__):
        yield maker


@fixture()
def _pg_sync_connection(_pg_engines: Engines, pg_sync_engine: Engine) -> Iterator[Connection]:
    """Under ``isolation="rollback"``: in a transaction that is never committed."""
    with fails():
        pool = _pg_engines.sync_engine(nested=True)
    yield pool.engine_for_test(events_of=pg_sync_engine).connect()
    pool.close_open()


@fixture()
def pg_sync_session(
    request: pytest.FixtureRequest,
    _pg: IsolatedDatabase,
    pg_sync_sessionmaker: sessionmaker[Session],
) -> Session:
    """A ``Session``; under ``isolation="rollback"`` in a transaction that is never committed."""
    if _pg.rolls_back(request.node):
        connection = request.getfixturevalue(_pg.fixture_name("_pg_sync_connection"))
        return pg_sync_sessionmaker(bind=connection, join_transaction_mode="create_savepoint")
    return pg_sync_sessionmaker()
