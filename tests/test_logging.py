"""Log records: their loggers and levels, and how a user shows them."""

from __future__ import annotations

import re

import pytest

from support.programs import load_program
from support.projects import ITEM, Project

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
    shown = re.findall(r"^(?:DEBUG|INFO) +([\w.]+):", result.stdout.str(), re.MULTILINE)
    assert set(shown) <= {"shop", "pytest_pgtemplate", "asyncio"}


def test_file_locks_of_the_application_are_logged_as_ever(shop: Project) -> None:
    shop.write(
        "test_it.py",
        """
        from filelock import FileLock

        def test_it(pg, tmp_path):
            with FileLock(tmp_path / "mine.lock"):
                assert False
        """,
    )
    result = shop.run("--log-level=DEBUG")

    result.stdout.fnmatch_lines("DEBUG*filelock*acquired*mine.lock")
    result.stdout.no_fnmatch_line("*_tpl_*.lock")


def test_what_takes_long_is_logged_with_how_long_it_took(shop: Project) -> None:
    shop.write(
        "test_it.py",
        """
        from sqlalchemy import text

        def test_schema(pg_sync_session):
            pg_sync_session.execute(text("CREATE TABLE more ()"))
            pg_sync_session.commit()
        """,
    )
    shop.run("--log-file=run.log", "--log-file-level=INFO").assert_outcomes(passed=1)

    line = r"INFO +pytest_pgtemplate:\S+ "
    for record in (
        r"waiting for the template: \d+\.\d{3} s",
        r"cloning the template: \d+\.\d{3} s",
        r"re-cloned after test_it.py::test_schema \(the schema changed\): \d+\.\d{3} s",
    ):
        log = (shop.root / "run.log").read_text()
        assert len(re.findall(f"^{line}{record}$", log, re.MULTILINE)) == 1


def test_a_log_at_its_usual_level_has_nothing_of_ours(shop: Project) -> None:
    shop.run().stdout.no_fnmatch_line("*pytest_pgtemplate:*")


def test_sqlalchemy_logs_connections_on_request(shop: Project) -> None:
    shop.write(
        "conftest.py",
        load_program("logging/sqlalchemy_logs_connections_on_request.py"),
    )
    result = shop.run("--log-level=DEBUG")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("*sqlalchemy.pool.pgtemplate*checked out from pool*")
