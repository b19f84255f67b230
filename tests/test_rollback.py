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
