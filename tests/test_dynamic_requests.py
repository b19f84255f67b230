"""Databases that no test requests by name, but by ``request.getfixturevalue`` while it runs."""

from __future__ import annotations

import pytest

from support.programs import load_program
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
        load_program("dynamic_requests/wide_fixture.py"),
    )

    items.run("-p", "no:xdist").assert_outcomes(passed=2)


def test_a_database_that_a_finalizer_requests_is_reset(items: Project) -> None:
    """Its teardown is under way when the run first needs a database."""
    items.write(
        "test_late.py",
        load_program("dynamic_requests/a_database_that_a_finalizer_requests_is_reset.py"),
    )

    items.run("-p", "no:xdist").assert_outcomes(passed=2)


def test_a_run_without_database_tests_loads_no_database(items: Project) -> None:
    """Neither for a wide fixture that cannot request one nor for a failure."""
    items.write(
        "test_light.py",
        load_program("dynamic_requests/a_run_without_database_tests_loads_no_database.py"),
    )

    result = items.pytester.runpytest_subprocess(
        "-pno:xdist", "-pno:asyncio", "-pno:anyio", "test_light.py"
    )

    result.assert_outcomes(passed=1, failed=1)
