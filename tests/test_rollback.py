"""``isolation="rollback"``: the application may commit in a transaction that is rolled back."""

from __future__ import annotations

import pytest

from support.projects import PLAIN, Project, load_program

ASYNC_PLAIN = [option for option in PLAIN if "asyncio" not in option]

CONFTEST = load_program("rollback/root_conftest.py")

ASYNC = load_program("rollback/async.py")

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


LIMITS = """
import asyncio
import pytest
from conftest import item
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

pytestmark = pytest.mark.pg(isolation="rollback")
COUNT = text("SELECT count(*) FROM item")

async def test_another_isolation_level(pg_session):
    await pg_session.execute(item.insert().values(name="a"))
    await pg_session.commit()
    with pytest.raises(Exception, match="one isolation level"):
        await pg_session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
    assert await pg_session.scalar(COUNT) == 1

async def test_a_commit_of_a_failed_transaction(pg_session):
    await pg_session.execute(item.insert().values(name="a"))
    await pg_session.commit()
    with pytest.raises(DBAPIError):
        await pg_session.execute(text("SELECT 1 / 0"))
    await pg_session.commit()
    assert await pg_session.scalar(COUNT) == 1

def test_a_loop_that_closes(pg_sessionmaker, pg_connection):
    async def add():
        async with pg_sessionmaker(bind=pg_connection) as session:
            await session.execute(item.insert().values(name="a"))
            await session.commit()

    async def count():
        async with pg_sessionmaker(bind=pg_connection) as session:
            return await session.scalar(COUNT)

    asyncio.run(add())
    with pytest.raises(Exception, match="closed"):
        asyncio.run(count())
"""


def test_what_would_lose_the_outer_transaction_is_an_error(project: Project) -> None:
    """A test must not go on in another, empty transaction."""
    loops = ("asyncio_default_fixture_loop_scope", "asyncio_default_test_loop_scope")
    project.ini(**INI, **dict.fromkeys(loops, "session"))
    project.write("conftest.py", CONFTEST)
    project.write("test_limits.py", LIMITS)

    project.pytester.runpytest_subprocess(*ASYNC_PLAIN).assert_outcomes(passed=3)


def test_a_transaction_cannot_last_for_a_module(project: Project) -> None:
    project.write("conftest.py", CONFTEST)
    project.write(
        "test_it.py",
        """
        import pytest

        @pytest.mark.pg(isolation="rollback", scope="module")
        def test_marked(pg): ...
        """,
    )

    result = project.run()
    options = project.run("-o", "pg_isolation=rollback", "-o", "pg_scope=module")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*isolation is rollback, which ends with each test*"])
    assert options.ret == pytest.ExitCode.USAGE_ERROR


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
