"""Forked children (pytest-forked, mutmut, os.fork) work, and do not disturb their parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from support.programs import load_program
from support.projects import ITEM, PLAIN, Project

# As pytest-forked runs a test: in a forked child, which sends its reports. (pytest-forked itself
# fails under pytest 9.2, with or without this plugin.)
FORKS = load_program("fork/forks.py")
TESTS = load_program("fork/tests.py")


@pytest.fixture
def shop(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.ini(asyncio_mode="auto", markers="forked")
    project.write("conftest.py", FORKS)
    return project


def run(project: Project, *arguments: str) -> pytest.RunResult:
    plain = [each for each in PLAIN if each != "-pno:asyncio"]
    return project.pytester.runpytest_subprocess(*plain, "--pg-timeout=60", *arguments)


def test_forked_tests_are_isolated(shop: Project) -> None:
    """Even if the child is killed, or changes the schema."""
    shop.write("test_it.py", TESTS)
    result = run(shop)
    result.assert_outcomes(passed=7, failed=1)
    assert "test_changes_the_schema" in result.stdout.str()
    assert [name.split("_")[2] for name in shop.databases()] == ["tpl"]


def test_each_test_may_run_in_its_own_child(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each child then has its own session fixtures, and clones the database again."""
    shop.write("test_it.py", TESTS)
    monkeypatch.setenv("FORK_ALL", "1")
    result = run(shop, "-k", "not dies and not changes")
    result.assert_outcomes(passed=6, deselected=2)


def test_rows_of_a_shared_fixture_stay_for_forked_tests(shop: Project) -> None:
    shop.write(
        "test_it.py",
        load_program("fork/rows_of_a_shared_fixture_stay_for_forked_tests.py"),
    )
    run(shop).assert_outcomes(passed=4)


# What mutmut does: it runs pytest, and again in forked children, and waits for any child

SECOND = load_program("fork/second_run.py")


@pytest.mark.full("one")
@pytest.mark.parametrize("where", ["embedded", "given"])
def test_pytest_may_run_again_in_forked_children(
    shop: Project, request: pytest.FixtureRequest, where: str
) -> None:
    """Two runs at once: no server and no keeper is a child of pytest."""
    if where == "embedded":
        request.getfixturevalue("new_user_home")
    shop.write("test_it.py", "def test_it(pg_sync_session):\n    pass\n")
    shop.write("second.py", SECOND)
    arguments = json.dumps([*PLAIN, "-q", "--pg-timeout=60"])
    done = subprocess.run(
        [sys.executable, "second.py", arguments],
        cwd=shop.root,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no other child" in done.stdout


LEASED = load_program("fork/leased.py")


def test_a_child_holds_no_lease_of_a_parent_that_was_killed(shop: Project) -> None:
    """The child still runs, with a copy of every socket; the next run drops the database."""
    shop.write("test_it.py", LEASED)
    run(shop)
    child = int((shop.root / "forked").read_text())
    try:
        shop.write("test_it.py", "def test_it(pg_sync_session):\n    pass\n")
        run(shop).assert_outcomes(passed=1)
        assert [name.split("_")[2] for name in shop.databases()] == ["tpl"]
    finally:
        os.kill(child, 9)
