"""Databases that no test requests by name, but by ``request.getfixturevalue`` while it runs."""

from __future__ import annotations

import pytest

from support.projects import ITEM, Project

CONFTEST = """
import pytest
from sqlalchemy import text

COUNT = text("SELECT count(*) FROM item WHERE name = 'late'")

def add(request):
    with request.getfixturevalue("pg_shared").sync_sessionmaker() as session:
        session.execute(text("INSERT INTO item (name) VALUES ('late')"))
        session.commit()
"""


@pytest.fixture
def items(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.prepare_template()
    project.write("conftest.py", CONFTEST)
    return project


def test_rows_of_a_wide_fixture_that_requests_its_database_late_are_shared(items: Project) -> None:
    """They become a layer, also if nothing in the run has used a database before."""
    items.write(
        "test_late.py",
        """
        import pytest
        from conftest import COUNT, add

        @pytest.fixture(scope="module")
        def rows(request):
            add(request)

        @pytest.mark.parametrize("number", [1, 2])
        def test_the_rows_are_there(rows, number, request):
            session = request.getfixturevalue("pg_sync_session")
            assert session.scalar(COUNT) == 1
            add(request)
        """,
    )

    items.run("-p", "no:xdist").assert_outcomes(passed=2)


def test_a_database_that_a_finalizer_requests_is_reset(items: Project) -> None:
    """Its teardown is under way when the run first needs a database."""
    items.write(
        "test_late.py",
        """
        import pytest
        from conftest import COUNT, add

        @pytest.fixture
        def cleaned(request):
            yield
            add(request)

        @pytest.fixture(scope="session", autouse=True)
        def kept(request):
            '''Wider than the test, so that the session's fixtures outlive it.'''

        def test_one(cleaned):
            pass

        def test_two(request):
            assert request.getfixturevalue("pg_sync_session").scalar(COUNT) == 0
        """,
    )

    items.run("-p", "no:xdist").assert_outcomes(passed=2)


def test_a_run_without_database_tests_loads_no_database(items: Project) -> None:
    """Neither for a wide fixture that cannot request one nor for a failure."""
    items.write(
        "test_light.py",
        """
        import sys
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def wide():
            yield

        def test_fails():
            assert False

        def test_modules():
            unused = ("isolated_database", "progress", "stats", "fixture_layers", "preparation")
            loaded = {name.rpartition(".")[2] for name in sys.modules if "pgtemplate" in name}
            assert "plugin" in loaded
            assert not loaded & {*unused}
        """,
    )

    result = items.pytester.runpytest_subprocess(
        "-pno:xdist", "-pno:asyncio", "-pno:anyio", "test_light.py"
    )

    result.assert_outcomes(passed=1, failed=1)
