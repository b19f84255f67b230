"""The databases are prepared while pytest collects, and given back after the last report."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from pytest_pgtemplate._run import RUN
from support.programs import load_program
from support.projects import COUNTED, ITEM, PLAIN, TESTS, Project

TIMEOUT = 60.0  # seconds
THREAD = "pgtemplate-preparation"
STEPS = ["server", "template", "database"]
# A migration that lasts until there is a file ``go``, and says that it runs.
UNFINISHED = """
import pathlib, time
pathlib.Path("running").write_text(str(os.getpid()))
while not pathlib.Path("go").exists():
    time.sleep(0.02)
"""
WAIT_FOR_MIGRATION = """
import pathlib, time
deadline = time.monotonic() + 60
while not pathlib.Path("running").exists():
    assert time.monotonic() < deadline
    time.sleep(0.02)
"""
PLAIN_TEST = "def test_plain():\n    pass\n"


class Observer:
    """A pytest plugin: what is there when pytest has collected, and before the first test."""

    def __init__(self, project: Project, expected: int = 0) -> None:
        self.project = project
        self.expected = expected  # databases at the end of the collection
        self.found: list[str] = []
        self.began = False
        self.steps: list[str] = []  # that no fixture had to take
        self.events: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        self.began = THREAD in {thread.name for thread in threading.enumerate()}
        wait_until(lambda: len(self._workers()) >= self.expected)
        self.found = self._workers()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        assert THREAD not in {thread.name for thread in threading.enumerate()}
        if not self.steps:
            prepared = item.config.stash[RUN].main.prepared
            self.steps = [step for step in STEPS if getattr(prepared, step) is not None]

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.events.append(f"{report.when} {report.outcome} {len(self._workers())}")

    def _workers(self) -> list[str]:
        return [name for name in self.project.databases() if name.endswith("_main")]

    def run(self, *arguments: str) -> pytest.RunResult:
        return self.project.pytester.runpytest_inprocess(
            *PLAIN, *arguments, plugins=[self], no_reraise_ctrlc=True
        )


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def shop(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.write("test_it.py", TESTS)
    return project


@pytest.fixture
def slow_shop(project: Project) -> Project:
    """Its build lasts until there is a file ``go``."""
    project.alembic()
    project.revision("one", ITEM + UNFINISHED)
    project.write("test_it.py", TESTS)
    return project


def only_template(project: Project) -> bool:
    return [name.split("_")[2] for name in project.databases()] == ["tpl"]


STRAYS = {
    "rows": "INSERT INTO item (name) VALUES ('stray')",
    "schema": "ALTER TABLE item ADD stray int",
}


@pytest.mark.parametrize("stray", STRAYS)
def test_what_is_written_before_the_first_database_test_does_not_reach_it(
    shop: Project, stray: str
) -> None:
    """The application knows the URL of the prepared database from pg_env."""
    shop.ini(pg_env="URL={url:psycopg}")
    shop.prepare_template()
    shop.write(
        "test_it.py",
        f"""
        import os
        import sqlalchemy

        def test_of_the_application():
            engine = sqlalchemy.create_engine(os.environ["URL"])
            with engine.begin() as connection:
                connection.execute(sqlalchemy.text("{STRAYS[stray]}"))
            engine.dispose()

        def test_database(pg_sync_session):
            columns = pg_sync_session.execute(sqlalchemy.text("SELECT * FROM item")).all()
            assert columns == [(1, "reference")]
        """,
    )
    observer = Observer(shop, expected=1)

    observer.run().assert_outcomes(passed=2)


# What begins, and when


@pytest.mark.parametrize("option", ["", "-kdatabase", "-mnot other", "--deselect=test_other.py"])
def test_the_database_is_ready_when_the_collection_ends(shop: Project, option: str) -> None:
    shop.ini(markers="other")
    shop.prepare_template()
    observer = Observer(shop, expected=1)
    outcomes = observer.run(*filter(None, [option])).parseoutcomes()
    assert outcomes["passed"] == (3 if "-k" in option else 4)
    assert observer.began
    assert len(observer.found) == 1
    assert observer.steps == STEPS
    assert only_template(shop)
    assert len(shop.spares()) == 1


def test_a_test_that_gets_its_database_by_pg_autouse_begins_it(shop: Project) -> None:
    shop.ini(pg_autouse="true")
    shop.write("test_it.py", PLAIN_TEST)
    shop.prepare_template()
    observer = Observer(shop, expected=1)
    observer.run().assert_outcomes(passed=1)
    assert observer.steps == STEPS


@pytest.mark.parametrize(
    "options",
    [
        ["--collect-only"],
        ["--fixtures"],
        ["--fixtures-per-test"],
        ["--setup-plan"],
        ["--setup-only"],
        ["-kplain"],
        ["-mplain"],
        ["-k(", "-v"],
        ["--deselect=test_it.py::test_database"],
        ["test_other.py"],
    ],
    ids=" ".join,
)
def test_nothing_begins(shop: Project, options: list[str]) -> None:
    """With options that run no test, without a test that needs it, and if none is selected."""
    shop.ini(markers="plain")
    shop.write("test_other.py", PLAIN_TEST)
    shop.prepare_template()
    observer = Observer(shop)
    observer.run(*options)
    assert not observer.began
    assert only_template(shop)
    assert not observer.steps


@pytest.mark.parametrize(
    ("override", "steps"),
    [
        ("pg_server(pg_server)", []),
        ("pg_migrations(pg_migrations)", ["server"]),
        ("pg_seed(pg_seed)", ["server"]),
        ("pg_template(pg_template)", ["server"]),
        ("pg_database(pg_database)", ["server", "template"]),
    ],
)
def test_the_steps_end_at_an_overridden_fixture(
    shop: Project, override: str, steps: list[str]
) -> None:
    name = override.partition("(")[0]
    shop.write(
        "conftest.py",
        f'import pytest\n\n@pytest.fixture(scope="session")\ndef {override}:\n    return {name}\n',
    )
    shop.prepare_template()
    observer = Observer(shop)
    observer.run().assert_outcomes(passed=4)
    assert observer.steps == steps
    assert only_template(shop)


OVERRIDES = load_program("preparation/overrides.py")
EVALUATED = {
    "files": 'pg_migrations():\n    return SqlFiles("item.sql")',
    "alembic": 'pg_migrations():\n    return Alembic(Path("alembic.ini"))',
    "seed": "pg_seed():\n    return seed",
}
NOT_EVALUATED = {
    "parameter": 'pg_migrations(pytestconfig):\n    return SqlFiles("item.sql")',
    "generator": 'pg_migrations():\n    yield SqlFiles("item.sql")',
    "code in this process": 'pg_migrations():\n    return OfTheUser("item.sql")',
    "of a fixture": 'pg_migrations():\n    return SqlFiles(os.environ["FILE"])',
}
SETS_FILE = """
import os

@pytest.fixture(scope="session", autouse=True)
def environment():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FILE", "item.sql")
        yield
"""
ITEM_SQL = """
CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY, name text NOT NULL);
INSERT INTO item (name) VALUES ('reference');
"""


def override(shop: Project, fixture: str) -> None:
    decorated = f'@pytest.fixture(scope="session")\ndef {fixture}\n'
    shop.write("conftest.py", f"{OVERRIDES}\n\n{decorated}\n\n{SETS_FILE}")
    shop.write("item.sql", ITEM_SQL)


@pytest.mark.parametrize("kind", EVALUATED)
def test_an_override_without_parameters_is_evaluated_for_the_preparation(
    shop: Project, kind: str
) -> None:
    override(shop, EVALUATED[kind])
    observer = Observer(shop)
    observer.run().assert_outcomes(passed=4)
    assert observer.steps == STEPS


@pytest.mark.parametrize("kind", NOT_EVALUATED)
def test_an_override_that_may_need_a_test_is_not_evaluated(shop: Project, kind: str) -> None:
    """It has parameters or a teardown, it fails, or it runs code of the user's in this process."""
    override(shop, NOT_EVALUATED[kind])
    observer = Observer(shop)
    observer.run().assert_outcomes(passed=4)
    assert observer.steps == ["server"]


def test_the_value_that_pytest_gets_from_an_override_counts(shop: Project) -> None:
    """It differs from the one for the preparation, whose database is given back."""
    override(shop, "pg_migrations():\n    return SqlFiles(os.environ.get('FILE', 'other.sql'))")
    shop.write("other.sql", "CREATE TABLE other (id int);")
    Observer(shop, expected=1).run().assert_outcomes(passed=4)
    assert [name.split("_")[2] for name in shop.databases()] == ["tpl", "tpl"]


def test_a_database_that_is_kept_is_created_for_the_first_test(shop: Project) -> None:
    shop.prepare_template()
    observer = Observer(shop)
    observer.run("--pg-keep").assert_outcomes(passed=4)
    assert observer.steps == ["server", "template"]


def test_a_database_of_another_template_is_given_back(shop: Project) -> None:
    """The test that began it was deselected, and the others override the migrations."""
    shop.write(
        "conftest.py",
        """
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_collection_modifyitems(items):
            items[:] = [item for item in items if "other" in item.nodeid]
        """,
    )
    shop.write(
        "test_other.py",
        load_program("preparation/a_database_of_another_template_is_given_back.py"),
    )
    shop.write("other.sql", "CREATE TABLE other (id int);")
    Observer(shop, expected=1).run().assert_outcomes(passed=1)
    assert [name.split("_")[2] for name in shop.databases()] == ["tpl", "tpl"]


def test_each_of_several_databases_is_prepared(shop: Project) -> None:
    shop.ini(pg_databases="orders", pg_alembic_ini_orders="alembic.ini")
    shop.write(
        "test_it.py", "def test_both(pg, pg_orders):\n    assert pg.name != pg_orders.name\n"
    )
    observer = Observer(shop, expected=2)
    observer.run().assert_outcomes(passed=1)
    assert len(observer.found) == 2


def test_workers_prepare_and_migrate_once(shop: Project) -> None:
    shop.revision("two", COUNTED)
    shop.run_workers().assert_outcomes(passed=4)
    assert shop.migrations() == 1
    assert only_template(shop)


# What was not used


def test_a_database_whose_tests_are_deselected_is_given_back_silently(shop: Project) -> None:
    shop.write(
        "conftest.py",
        """
        def pytest_collection_modifyitems(items):
            items[:] = [item for item in items if "plain" in item.nodeid]
        """,
    )
    shop.prepare_template()
    result = Observer(shop).run()
    result.assert_outcomes(passed=1)
    assert "pgtemplate:" not in result.stdout.str().partition("collected")[2]
    assert only_template(shop)


EXIT = "def pytest_itemcollected(item):\n    if 'later' in item.nodeid:\n        pytest.exit('', 7)"
ENDS = {
    "error": ("raise RuntimeError", pytest.ExitCode.INTERRUPTED),
    "exit": ("def test_later(): ...", 7),
    "ctrl-c": ("raise KeyboardInterrupt", pytest.ExitCode.INTERRUPTED),
}


@pytest.mark.full("one")
@pytest.mark.parametrize("end", ENDS)
def test_a_collection_that_ends_early_stops_the_build(slow_shop: Project, end: str) -> None:
    code, status = ENDS[end]
    slow_shop.write("test_later.py", WAIT_FOR_MIGRATION + code)
    slow_shop.write("conftest.py", f"import pytest\n{EXIT}\n")
    result = Observer(slow_shop).run()
    assert result.ret == status
    assert slow_shop.databases() == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((slow_shop.root / "running").read_text()), 0)
    assert THREAD not in {thread.name for thread in threading.enumerate()}


def test_a_run_that_is_killed_during_the_preparation_leaves_no_database(slow_shop: Project) -> None:
    later = slow_shop.write(
        "test_later.py", WAIT_FOR_MIGRATION + "import os\nos.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(slow_shop.command(), cwd=slow_shop.root, timeout=TIMEOUT, check=False)
    assert killed.returncode == -signal.SIGKILL
    later.unlink()
    (slow_shop.root / "go").touch()
    slow_shop.run().assert_outcomes(passed=4)
    assert only_template(slow_shop)


# Errors


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failing_migration_runs_once_and_is_reported_once(shop: Project, workers: int) -> None:
    shop.revision("two", COUNTED + 'raise RuntimeError("broken migration")')
    result = shop.run_workers() if workers else Observer(shop).run()
    result.assert_outcomes(passed=1, errors=1, skipped=2)
    output = result.stdout.str() + result.stderr.str()
    assert output.count("RuntimeError: broken migration") == 1
    assert "Exception in thread" not in output
    assert "PytestUnhandledThreadExceptionWarning" not in output
    assert shop.migrations() == 1
    assert shop.databases() == []


def test_a_build_that_needs_what_a_fixture_sets_succeeds(shop: Project) -> None:
    """The preparation fails, and the fixture builds with the environment of the test."""
    shop.revision("two", 'assert os.environ["SECRET"] == "of a fixture"')
    shop.write(
        "conftest.py",
        """
        import os
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def environment():
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SECRET", "of a fixture")
                yield
        """,
    )
    Observer(shop).run().assert_outcomes(passed=4)


def test_migrations_that_a_fixture_writes_are_in_the_template(shop: Project) -> None:
    """The preparation has built another template, and its database is given back."""
    revision = shop.revision("two", "pass")
    shop.write(
        "conftest.py",
        f"""
        from pathlib import Path
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def migrations():
            path = Path({str(revision)!r})
            statement = "op.execute(\\"INSERT INTO item (name) VALUES ('more')\\")"
            path.write_text(path.read_text().replace("pass", statement))
        """,
    )
    shop.write(
        "test_it.py",
        """
        from sqlalchemy import text

        def test_rows(pg_sync_session):
            names = pg_sync_session.scalars(text("SELECT name FROM item ORDER BY id")).all()
            assert names == ["reference", "more"]
        """,
    )
    Observer(shop, expected=1).run().assert_outcomes(passed=1)
    assert [name.split("_")[2] for name in shop.databases()] == ["tpl", "tpl"]


# After the last test


def test_the_last_report_does_not_wait_for_giving_back(shop: Project) -> None:
    shop.prepare_template()
    observer = Observer(shop, expected=1)
    observer.run("-kdatabase").assert_outcomes(passed=3, deselected=1)
    assert observer.events[-1] == "teardown passed 1"
    assert only_template(shop)
    assert len(shop.spares()) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_cannot_give_back_is_red(shop: Project, workers: int) -> None:
    shop.write(
        "conftest.py",
        """
        from pytest_pgtemplate._server import Server
        from pytest_pgtemplate._worker import WorkerDatabase
        from pytest_pgtemplate.errors import ServerError

        def fail(database, *, drop=False):
            raise ServerError("it cannot be given back", hint="none")

        WorkerDatabase.close = fail
        """,
    )
    shop.prepare_template()
    result = shop.pytester.runpytest_subprocess(*PLAIN, "-kdatabase", f"-n{workers}")
    result.assert_outcomes(passed=3, errors=1, **({} if workers else {"deselected": 1}))
    assert result.stdout.str().count("it cannot be given back") == 1 + 1  # and in the short summary
    assert result.ret == pytest.ExitCode.TESTS_FAILED
