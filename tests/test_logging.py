"""What is logged goes where a user looks for it, and is shown when it is asked for."""

from __future__ import annotations

import pytest

from projects import ITEM, Project

FAILING = """
import logging
from sqlalchemy import text

def test_it(pg_sync_session):
    logging.getLogger("shop").debug("a line of the application's")
    assert pg_sync_session.scalar(text("SELECT count(*) FROM item")) == 7
"""


@pytest.fixture
def shop(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.write("test_it.py", FAILING)
    return project


def test_a_captured_log_is_the_applications_own(shop: Project) -> None:
    result = shop.run("--log-level=DEBUG")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("*a line of the application's")
    result.stdout.no_fnmatch_line("*HomePool*")


def test_connections_are_logged_to_whoever_asks_sqlalchemy(shop: Project) -> None:
    shop.write(
        "conftest.py",
        """
        import logging
        import pytest

        @pytest.fixture(autouse=True)
        def log_connections():
            logger = logging.getLogger("sqlalchemy.pool")
            logger.setLevel("DEBUG")
            yield
            logger.setLevel("NOTSET")
        """,
    )
    result = shop.run("--log-level=DEBUG")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("*sqlalchemy.pool.pgtemplate*checked out from pool*")
