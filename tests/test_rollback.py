"""``isolation="rollback"``: the application may commit in a transaction that is rolled back."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from pytest_pgtemplate import _urls
from pytest_pgtemplate._engines import Engines, rollback
from support.programs import load_program
from support.projects import PLAIN, Project

ASYNC_PLAIN = [option for option in PLAIN if "asyncio" not in option]

CONFTEST = load_program("rollback/root_conftest.py")

ASYNC = load_program("rollback/async.py")

SYNC = load_program("rollback/sync.py")

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


LIMITS = load_program("rollback/limits.py")


def test_what_would_lose_the_outer_transaction_is_an_error(project: Project) -> None:
    """A test must not go on in another, empty transaction."""
    loops = ("asyncio_default_fixture_loop_scope", "asyncio_default_test_loop_scope")
    project.ini(**INI, **dict.fromkeys(loops, "session"))
    project.write("conftest.py", CONFTEST)
    project.write("test_limits.py", LIMITS)

    project.pytester.runpytest_subprocess(*ASYNC_PLAIN).assert_outcomes(passed=4)


LOCK = text("SELECT pg_advisory_xact_lock(1)")
LOCK_TIMEOUT = text("SHOW lock_timeout")


@pytest.mark.parametrize(
    ("driver", "level"),
    [
        ("psycopg", "AUTOCOMMIT"),
        ("psycopg2", "READ COMMITTED"),
        ("psycopg2", "AUTOCOMMIT"),
        ("pg8000", "AUTOCOMMIT"),
    ],
)
def test_each_sync_driver_waits_for_a_limited_time(
    url: URL, monkeypatch: pytest.MonkeyPatch, driver: str, level: str
) -> None:
    monkeypatch.setattr(rollback, "LOCK_TIMEOUT", "20ms")
    limited = True
    engines = Engines(_urls.for_driver(url, driver), {}, lambda: limited)
    engine = engines.sync_engine().engine_for_test()

    with engines.sync_engine(nested=True).engine_for_test().connect() as holding:
        holding.execute(LOCK)
        with engine.connect().execution_options(isolation_level=level) as other:
            with pytest.raises(DBAPIError) as caught:
                other.execute(LOCK)
            assert "keeps its locks" in caught.value.__notes__[0]
        raw = engine.raw_connection()
        with pytest.raises(engine.dialect.loaded_dbapi.Error):
            raw.cursor().execute(LOCK.text)
        raw.close()

    limited = False
    engines.reset_sessions()
    with engine.connect() as later:
        assert later.scalar(LOCK_TIMEOUT) == "0"
    engines.close()


@pytest.mark.parametrize(
    ("driver", "level"), [("asyncpg", "AUTOCOMMIT"), ("psycopg", "READ COMMITTED")]
)
def test_each_async_driver_waits_for_a_limited_time(
    url: URL, monkeypatch: pytest.MonkeyPatch, driver: str, level: str
) -> None:
    monkeypatch.setattr(rollback, "LOCK_TIMEOUT", "20ms")
    limited = True
    engines = Engines(_urls.for_driver(url, driver), {}, lambda: limited)
    engine = engines.async_engine().engine_for_test()

    async def wait() -> None:
        async with engines.async_engine(nested=True).engine_for_test().connect() as holding:
            await holding.execute(LOCK)
            async with engine.connect() as other:
                await other.execution_options(isolation_level=level)
                with pytest.raises(DBAPIError) as caught:
                    await other.execute(LOCK)
                assert "keeps its locks" in caught.value.__notes__[0]

    async def limit() -> object:
        async with engine.connect() as later:
            return await later.scalar(LOCK_TIMEOUT)

    with asyncio.Runner() as runner:
        runner.run(wait())
        limited = False
        engines.reset_sessions()
        assert runner.run(limit()) == "0"


APP = """
import os
from sqlalchemy import create_engine
engine = create_engine(os.environ["DATABASE_URL"])
"""

WAITS = load_program("rollback/waits.py")


def test_no_connection_of_a_test_waits_for_ever_for_its_transaction(project: Project) -> None:
    project.ini(
        **INI,
        asyncio_default_fixture_loop_scope="function",
        pythonpath=".",
        pg_bind="app:engine",
        pg_env="DATABASE_URL={url:psycopg}",
    )
    project.write("conftest.py", CONFTEST)
    project.write("app.py", APP)
    project.write("test_waits.py", WAITS)

    result = project.pytester.runpytest_subprocess(*ASYNC_PLAIN, "-pno:randomly", timeout=30)

    result.assert_outcomes(passed=8, failed=1)  # test_raw
    result.stdout.fnmatch_lines(['HINT: with isolation="rollback", pg_session keeps its locks*'])


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
