"""``pg_engine_options`` and ``pg_session_options``: the application's own keywords."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from pytest_pgtemplate._engines import emptied
from support.programs import load_program
from support.projects import Project

CONFTEST = load_program("engine_options/root_conftest.py")
TESTS = load_program("engine_options/tests.py")


def test_every_engine_and_session_keeps_them(project: Project) -> None:
    project.ini(
        asyncio_mode="auto",
        asyncio_default_fixture_loop_scope="session",
        asyncio_default_test_loop_scope="session",
        filterwarnings="error",
    )
    project.write("conftest.py", CONFTEST)
    project.write("test_them.py", TESTS)

    result = project.pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:xdist")

    result.assert_outcomes(passed=4)


@pytest.mark.parametrize(
    ("fixture", "options", "test", "message"),
    [
        ("engine", {"pool_size": 9, "poolclass": None}, "pg_sync_engine", "pool_size, poolclass"),
        ("engine", {"creator": None}, "pg_shared", "contains creator"),
        ("engine", {"isolation_level": "AUTOCOMMIT"}, "pg_sync_session", "isolation_level="),
        (
            "engine",
            {"execution_options": {"isolation_level": "AUTOCOMMIT"}},
            "pg_sync_session",
            "isolation_level=",
        ),
        ("engine", {"jsn_serializer": None}, "pg_sync_engine", "jsn_serializer"),
        ("session", {"bind": None}, "pg_sync_session", "contains bind"),
    ],
)
def test_what_would_end_the_isolation_is_refused(
    project: Project, fixture: str, options: dict[str, object], test: str, message: str
) -> None:
    project.alembic()
    project.write(
        "conftest.py",
        f"""
        import pytest

        @pytest.fixture(scope="session")
        def pg_{fixture}_options():
            return {options!r}
        """,
    )
    project.write("test_it.py", f"def test_it({test}):\n    pass\n")

    result = project.run("--pg-isolation=rollback")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*pg_{fixture}_options *{message}*", "*HINT: *"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_autocommit_is_fine_where_nothing_is_rolled_back(project: Project) -> None:
    project.alembic()
    project.write(
        "conftest.py",
        """
        import pytest

        @pytest.fixture(scope="session")
        def pg_engine_options():
            return {"isolation_level": "AUTOCOMMIT"}
        """,
    )
    project.write("test_it.py", "def test_it(pg_sync_session):\n    pass\n")

    project.run().assert_outcomes(passed=1)


def test_sessions_of_the_application_are_left_alone() -> None:
    """``async_sessionmaker`` makes no class of its own: it uses AsyncSession itself."""
    before = AsyncSession.__init__
    for _ in range(3):
        maker = async_sessionmaker()
        with emptied(maker):
            assert isinstance(maker(), AsyncSession)

        assert AsyncSession.__init__ is before


def test_a_listener_of_a_sessionmaker_ends_with_its_test(project: Project) -> None:
    project.alembic()
    project.write(
        "test_it.py",
        load_program("engine_options/a_listener_of_a_sessionmaker_ends_with_its_test.py"),
    )

    project.run().assert_outcomes(passed=4)
