"""Forked children (pytest-forked, mutmut, os.fork) work, and do not disturb their parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from support.projects import ITEM, PLAIN, Project

# As pytest-forked runs a test: in a forked child, which sends its reports. (pytest-forked itself
# fails under pytest 9.2, with or without this plugin.)
FORKS = """
import json, os
import pytest
from _pytest.runner import runtestprotocol

def run_in_child(item):
    hook = item.config.hook
    reports = runtestprotocol(item, log=False)
    data = [hook.pytest_report_to_serializable(config=item.config, report=each) for each in reports]
    return json.dumps(data).encode()

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    if not item.get_closest_marker("forked") and "FORK_ALL" not in os.environ:
        return None
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writer, run_in_child(item))
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    reports = [pytest.TestReport._from_json(each) for each in json.loads(data)] if data else [
        pytest.TestReport(item.nodeid, item.location, {}, "failed", "the child died", "call")
    ]
    for each in reports:
        item.ihook.pytest_runtest_logreport(report=each)
    return True
"""
TESTS = """
import os
import pytest
from sqlalchemy import text

def insert(session, name):
    names = session.scalars(text("SELECT name FROM item ORDER BY id")).all()
    session.execute(text("INSERT INTO item (name) VALUES (:name)"), {"name": name})
    session.commit()
    return names

def test_first(pg_sync_session):
    assert insert(pg_sync_session, "first") == ["reference"]

@pytest.mark.forked
@pytest.mark.parametrize("n", range(2))
def test_forked(n, pg_sync_session):
    assert insert(pg_sync_session, "forked") == ["reference"]

@pytest.mark.forked
async def test_forked_async(pg_session):
    assert (await pg_session.scalars(text("SELECT name FROM item"))).all() == ["reference"]
    await pg_session.execute(text("DELETE FROM item"))
    await pg_session.commit()

@pytest.mark.forked
def test_dies(pg_sync_session):
    insert(pg_sync_session, "of the dead")
    os.kill(os.getpid(), 9)

def test_between(pg_sync_session):
    assert insert(pg_sync_session, "between") == ["reference"]

@pytest.mark.forked
def test_changes_the_schema(pg_sync_session):
    pg_sync_session.execute(text("ALTER TABLE item ADD COLUMN more int"))
    pg_sync_session.commit()

def test_last(pg_sync_session):
    assert pg_sync_session.execute(text("SELECT * FROM item")).all() == [(1, "reference")]
"""


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
        """
        import pytest
        from sqlalchemy import text

        @pytest.fixture(scope="module")
        def shared(pg_shared):
            with pg_shared.sync_sessionmaker.begin() as session:
                session.execute(text("INSERT INTO item (name) VALUES ('shared')"))

        FORKED = [pytest.param(n, marks=pytest.mark.forked) for n in (1, 3)]

        @pytest.mark.parametrize("n", [0, FORKED[0], 2, FORKED[1]])
        def test_rows(n, shared, pg_sync_session):
            rows = pg_sync_session.scalars(text("SELECT name FROM item ORDER BY id")).all()
            assert rows == ["reference", "shared"]
            pg_sync_session.execute(text("DELETE FROM item"))
            pg_sync_session.commit()
        """,
    )
    run(shop).assert_outcomes(passed=4)


# What mutmut does: it runs pytest, and again in forked children, and waits for any child

SECOND = """
import json, os, sys
import pytest

arguments = json.loads(sys.argv[1])
assert pytest.main(arguments) == 0
children = set()
for _ in range(2):
    pid = os.fork()
    if not pid:
        os._exit(pytest.main(arguments))
    children.add(pid)
while children:
    pid, status = os.wait()
    assert pid in children, f"process {pid} is none of ours"
    assert status == 0, status
    children.remove(pid)
try:
    os.wait()
except ChildProcessError:
    print("no other child")
"""


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


LEASED = """
import os, signal, sys
from pathlib import Path

def test_it(pg_database):
    pid = os.fork()
    if not pid:
        while True:
            signal.pause()
    Path("forked").write_text(str(pid))
    os.kill(os.getpid(), 9)
"""


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
