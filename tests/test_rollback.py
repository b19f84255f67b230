"""``isolation="rollback"``: the application may commit, in a transaction that never is."""

from __future__ import annotations

import pytest

from support.projects import PLAIN, Project

ASYNC_PLAIN = [option for option in PLAIN if "asyncio" not in option]

CONFTEST = """
import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, select

from pytest_pgtemplate import Metadata

metadata = MetaData()
item = Table(
    "item", metadata, Column("id", Integer, primary_key=True), Column("name", String, unique=True)
)

@pytest.fixture(scope="session")
def pg_migrations():
    return Metadata(metadata)
"""

ASYNC = """
import pytest
from conftest import item
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

pytestmark = pytest.mark.pg(isolation="rollback")

async def names(session):
    return (await session.scalars(select(item.c.name).order_by(item.c.id))).all()

@pytest.mark.parametrize("n", range(2))
async def test_a_commit_holds_within_the_test_only(pg_session, n):
    assert await names(pg_session) == []
    await pg_session.execute(item.insert().values(name="a"))
    await pg_session.commit()
    await pg_session.execute(item.insert().values(name="b"))
    await pg_session.rollback()
    assert await names(pg_session) == ["a"]

async def test_savepoints_nest(pg_session):
    async with pg_session.begin_nested():
        await pg_session.execute(item.insert().values(name="a"))
    async with pg_session.begin_nested() as inner:
        await pg_session.execute(item.insert().values(name="b"))
        await inner.rollback()
    await pg_session.commit()
    assert await names(pg_session) == ["a"]

async def test_an_error_is_rolled_back_and_the_session_goes_on(pg_session):
    await pg_session.execute(item.insert().values(name="a"))
    await pg_session.commit()
    with pytest.raises(IntegrityError):
        await pg_session.execute(item.insert().values(name="a"))
    await pg_session.rollback()
    assert await names(pg_session) == ["a"]

async def test_session_and_connection_share_the_transaction(pg_connection, pg_session):
    await pg_connection.execute(item.insert().values(name="a"))
    await pg_connection.commit()
    assert await names(pg_session) == ["a"]

async def test_others_see_nothing_of_it(pg_session, pg_sessionmaker):
    await pg_session.execute(item.insert().values(name="a"))
    await pg_session.commit()
    async with pg_sessionmaker() as other:
        assert await names(other) == []

async def test_a_real_commit_beside_it_is_taken_back_too(pg_session, pg_sessionmaker):
    async with pg_sessionmaker.begin() as other:
        await other.execute(item.insert().values(name="real"))
    assert await names(pg_session) == ["real"]
"""

SYNC = """
import pytest
from conftest import item
from sqlalchemy import select

pytestmark = pytest.mark.pg(isolation="rollback")

@pytest.mark.parametrize("n", range(2))
def test_a_commit_holds_within_the_test_only(pg_sync_session, pg_sync_sessionmaker, n):
    pg_sync_session.execute(item.insert().values(name="a"))
    pg_sync_session.commit()
    with pg_sync_session.begin_nested():
        pg_sync_session.execute(item.insert().values(name="b"))
    pg_sync_session.rollback()
    assert pg_sync_session.scalars(select(item.c.name)).all() == ["a"]
    with pg_sync_sessionmaker() as other:
        assert other.scalars(select(item.c.name)).all() == []
"""

INI = {"filterwarnings": "error", "asyncio_mode": "auto"}


@pytest.mark.full("values")
@pytest.mark.parametrize("scope", ["function", "session"])
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_the_application_may_commit_in_an_async_test(
    project: Project, driver: str, scope: str
) -> None:
    project.ini(
        **INI, asyncio_default_fixture_loop_scope=scope, asyncio_default_test_loop_scope=scope
    )
    project.write("conftest.py", CONFTEST)
    project.write("test_async.py", ASYNC)

    result = project.pytester.runpytest_subprocess(*ASYNC_PLAIN, *with_driver(project, driver))

    result.assert_outcomes(passed=7)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "pg8000"])
def test_the_application_may_commit_in_a_sync_test(project: Project, driver: str) -> None:
    project.ini(filterwarnings="error")
    project.write("conftest.py", CONFTEST)
    project.write("test_sync.py", SYNC)

    result = project.pytester.runpytest_subprocess(*PLAIN, *with_driver(project, driver))

    result.assert_outcomes(passed=2)


def test_rollback_can_be_the_default(project: Project) -> None:
    project.ini(filterwarnings="error")
    project.write("conftest.py", CONFTEST)
    project.write("test_sync.py", SYNC.replace("pytestmark", "unused"))

    result = project.pytester.runpytest_subprocess(*PLAIN, "--pg-isolation=rollback")

    result.assert_outcomes(passed=2)


def with_driver(project: Project, driver: str) -> list[str]:
    url = project.server.url.set(drivername=f"postgresql+{driver}")
    return ["--pg-url", url.render_as_string(hide_password=False)]
