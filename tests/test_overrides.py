"""Tests that see different overrides of a fixture that their database uses once are an error."""

from __future__ import annotations

import pytest

from support.projects import Project

CONFTEST = """
import pytest
from pytest_pgtemplate import SqlFiles

@pytest.fixture(scope="session")
def pg_migrations(pytestconfig):
    return SqlFiles(pytestconfig.rootpath / "{}.sql")
"""


@pytest.fixture
def two(project: Project) -> Project:
    for name in ("events", "orders"):
        project.write(f"{name}.sql", f"CREATE TABLE {name} ()")
        project.write(f"{name}/conftest.py", CONFTEST.format(name))
        project.write(f"{name}/test_{name}.py", "def test_it(pg):\n    pass\n")
    return project


@pytest.mark.parametrize("autouse", ["false", "true"])
def test_different_overrides_are_reported_once(two: Project, autouse: str) -> None:
    two.ini(pg_autouse=autouse)
    result = two.run()

    result.assert_outcomes(errors=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["*pg_migrations has two different overrides, in events and orders,*", "*HINT: *"]
    )
    assert two.databases() == []


def test_each_directory_alone_has_its_template(two: Project) -> None:
    two.run("events").assert_outcomes(passed=1)
    two.run("orders").assert_outcomes(passed=1)
    assert len(two.databases()) == 2


def test_tests_without_a_database_may_be_beside_them(two: Project) -> None:
    two.write("orders/test_orders.py", "def test_it():\n    pass\n")
    two.run().assert_outcomes(passed=2)


def test_different_overrides_of_pg_seed_are_an_error_too(two: Project) -> None:
    (two.root / "orders/conftest.py").unlink()
    two.write("conftest.py", CONFTEST.format("events"))
    two.write(
        "events/conftest.py",
        """
        import pytest

        def seed(url):
            pass

        @pytest.fixture(scope="session")
        def pg_seed():
            return seed
        """,
    )
    result = two.run()

    result.assert_outcomes(errors=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["*pg_seed has two different overrides, in events and the top of the project,*"]
    )


OPTIONS = """
import pytest

@pytest.fixture(scope="session")
def pg_{0}_options():
    return {1}

def test_it({2}):
    pass
"""


@pytest.mark.parametrize(
    ("options", "value", "user"),
    [
        ("engine", {"isolation_level": "SERIALIZABLE"}, "pg_sync_session"),
        ("engine", {"echo": True}, "pg_shared"),
        ("session", {"autoflush": False}, "pg_shared"),
    ],
)
def test_options_of_engines_that_tests_share(
    project: Project, options: str, value: dict[str, object], user: str
) -> None:
    """In whichever order they run, the second test would have the options of the first."""
    project.alembic()
    project.write("test_a.py", f"def test_it({user}):\n    pass\n")
    project.write("test_b.py", OPTIONS.format(options, value, user))

    for files in (["test_a.py", "test_b.py"], ["test_b.py", "test_a.py"]):
        result = project.run(*files)
        result.assert_outcomes(errors=1, skipped=1)
        result.stdout.fnmatch_lines([f"*pg_{options}_options has two different overrides, in *"])
    project.run("test_b.py").assert_outcomes(passed=1)


def test_options_of_sessions_that_each_test_makes_may_differ(project: Project) -> None:
    project.alembic()
    project.write(
        "test_a.py", "def test_it(pg_sync_session):\n    assert pg_sync_session.autoflush\n"
    )
    project.write(
        "test_b.py",
        OPTIONS.format("session", {"autoflush": False}, "pg_sync_session").replace(
            "pass", "assert not pg_sync_session.autoflush"
        ),
    )
    project.run().assert_outcomes(passed=2)
