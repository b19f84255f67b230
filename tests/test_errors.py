"""The errors a newcomer meets: one message each, with a hint, once for all tests and all workers.

The tests that need no database still run, nothing half-made stays on the server, and once the cause
is mended the next run just works.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import alembic.command
import pytest
from alembic.config import Config
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._run.reported_errors import ReportedErrors, digest
from pytest_pgtemplate._server import Server, facts
from pytest_pgtemplate._server.quoting import quote_literal
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import TemplateError
from support.programs import load_program
from support.projects import (
    ASYNC_ENV,
    COUNTED,
    ITEM,
    SYNC_ENV,
    TESTS,
    Project,
    connect,
    execute,
    make_project,
    query,
    unique,
)
from support.servers import CONNECTIONS, connections, free_port, tcp

FAILED = pytest.ExitCode.TESTS_FAILED


def assert_reported_once(
    result: pytest.RunResult, once: str, *words: str, database: int = 3
) -> str:
    """Check that one database test reports it, the others skip, and the plain one runs."""
    output = f"{result.stdout}{result.stderr}"
    assert result.ret == FAILED
    outcomes = result.parseoutcomes()
    assert outcomes.pop("error", 0) + outcomes.pop("errors", 0) + outcomes.pop("failed", 0) == 1
    assert outcomes == {"skipped": database - 1, "passed": 1}
    assert output.count("HINT:") == 1
    assert output.count(once) == 1
    for word in words:
        assert word in output
    assert "INTERNALERROR" not in output
    return output


@pytest.fixture
def shop(project: Project) -> Project:
    """Three tests that need the database, one that does not, and one sound revision."""
    project.alembic()
    project.revision("one", ITEM)
    project.write("test_it.py", TESTS)
    return project


@pytest.fixture
def private(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    private_url: URL,
    role: str,  # noqa: ARG001 - the role is dropped after its databases
) -> Iterator[Project]:
    """The same project, on a private server."""
    server = Server(private_url, timeout=60)
    for project in make_project(pytester, monkeypatch, server, private_url):
        project.alembic()
        project.revision("one", ITEM)
        project.write("test_it.py", TESTS)
        yield project
    server.close()


@pytest.fixture
def role(private_url: URL) -> Iterator[str]:
    """The name of a role that does not exist yet on the private server."""
    name = unique("role")
    yield name
    execute(private_url, f"DROP ROLE IF EXISTS {name}")


# The server


def test_wrong_port(shop: Project) -> None:
    port = free_port()
    result = shop.run_workers("--pg-url", f"postgresql://joe:hunter2@127.0.0.1:{port}/postgres")
    output = assert_reported_once(result, f"127.0.0.1:{port}", "pg_url")
    assert "hunter2" not in output
    assert "Traceback" not in output


def test_wrong_host(shop: Project) -> None:
    result = shop.run("--pg-url", "postgresql://joe:hunter2@no-such-host.invalid/postgres")
    assert "hunter2" not in assert_reported_once(result, "no-such-host.invalid", "pg_url")


BY_OTHER_MEANS = {
    "in the test": """
        @pytest.mark.parametrize("n", range(3))
        def test_database(n, request):
            request.getfixturevalue("pg_session")
        """,
    "in a fixture": """
        @pytest.fixture
        def app(request):
            return request.getfixturevalue("pg_url")

        @pytest.mark.parametrize("n", range(3))
        def test_database(n, app):
            pass
        """,
}


@pytest.mark.parametrize("means", BY_OTHER_MEANS)
def test_an_error_is_reported_once_if_fixtures_are_requested_dynamically(
    shop: Project, means: str
) -> None:
    """Pytest does not know beforehand that these tests need the database."""
    plain = "\n\ndef test_plain():\n    pass\n"
    shop.write("test_it.py", "import pytest\n" + dedent(BY_OTHER_MEANS[means]) + plain)
    url = f"postgresql://joe@127.0.0.1:{free_port()}/postgres"
    assert_reported_once(shop.run("--pg-url", url, "-rN"), "cannot connect")


UNITTEST = """
import unittest

class TestIt(unittest.TestCase):
    def test_it(self):
        pass
"""


def test_autouse(shop: Project) -> None:
    """Every test needs the database then, whatever kind of test it is."""
    shop.ini(pg_autouse="true")
    shop.write("test_unittest.py", UNITTEST)
    shop.write("test_doc.txt", ">>> 1 + 1\n2\n")
    shop.run().assert_outcomes(passed=6)
    result = shop.run("--pg-url", f"postgresql://joe@127.0.0.1:{free_port()}/postgres")
    result.assert_outcomes(errors=1, skipped=5)
    assert str(result.stdout).count("HINT:") == 1


@pytest.mark.parametrize("password", ["wrong hunter2", None])
def test_wrong_password(
    private: Project, private_url: URL, role: str, password: str | None
) -> None:
    execute(private_url, f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'right hunter2'")
    url = tcp(private_url, username=role, password=password)
    output = assert_reported_once(
        private.run("--pg-url", str(_urls.render(url))), f'"{role}"', "password"
    )
    assert "hunter2" not in output


def test_role_that_does_not_exist(private: Project, private_url: URL, role: str) -> None:
    url = private_url.set(username=role)
    assert_reported_once(
        private.run("--pg-url", str(_urls.render(url))), f'refused role "{role}"', "pg_url"
    )


def test_role_without_createdb(private: Project, private_url: URL, role: str) -> None:
    execute(private_url, f"CREATE ROLE {role} LOGIN")
    url = private_url.set(username=role)
    assert_reported_once(
        private.run("--pg-url", str(_urls.render(url))), f'ALTER ROLE "{role}" CREATEDB'
    )
    assert private.databases() == []


MEETING = load_program("errors/meeting.py")
MEETING_TESTS = load_program("errors/meeting_tests.py")


def test_too_few_connections(
    private: Project, private_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that get a connection go on; the others say once what is the matter."""
    private.run().assert_outcomes(passed=4)
    meeting = private.root / "meeting"
    meeting.mkdir()
    monkeypatch.setenv("MEETING", str(meeting))
    private.write("conftest.py", MEETING)
    private.write("test_it.py", MEETING_TESTS)

    async def occupy(count: int) -> list[Any]:
        return [await connect(private_url) for _ in range(count)]

    # A worker needs two. Of five, four workers cannot all be served, nor can all of them fail.
    loop = asyncio.new_event_loop()
    applied = loop.run_until_complete(occupy(CONNECTIONS - connections(private_url) - 5))
    try:
        result = private.run_workers("-rs", workers=4)
    finally:
        for connection in applied:
            loop.run_until_complete(connection.close())
        loop.close()
    outcomes = result.parseoutcomes()
    output = f"{result.stdout}{result.stderr}"
    assert outcomes["errors" if "errors" in outcomes else "error"] == 1
    assert output.count("HINT:") == 1
    assert "max_connections" in output
    assert outcomes["skipped"] >= 1
    assert outcomes["passed"] >= 4 + 1
    assert sum(outcomes.values()) == 12
    assert [name for name in private.databases() if "_tpl_" not in name] == []


# Configuration


def test_no_alembic_ini(project: Project) -> None:
    project.write("test_it.py", TESTS)
    assert_reported_once(project.run(), str(project.root / "alembic.ini"), "pg_migrations")
    assert project.databases() == []


@pytest.mark.parametrize(
    ("ini", "word"),
    [
        ("[alembic]\n", "script_location"),
        ("[alembic]\nscript_location = nowhere\n", "nowhere"),
        ("[alembic]\nscript_location = no_such_package.inner:migrations\n", "no_such_package"),
        ("script_location = migrations\n", "alembic.ini"),
        ("[alembic]\nscript_location = %(there)s/migrations\n", "there"),
    ],
)
def test_an_unusable_alembic_ini(shop: Project, ini: str, word: str) -> None:
    shop.write("alembic.ini", ini)
    assert_reported_once(shop.run(), "alembic.ini", word)
    assert shop.databases() == []


@pytest.mark.skipif(hasattr(Config, "get_alembic_option"), reason="this Alembic reads it")
def test_pyproject_with_an_alembic_that_does_not_read_it(project: Project) -> None:
    project.alembic()
    (project.root / "alembic.ini").unlink()
    project.write("pyproject.toml", "[tool.alembic]\nscript_location = 'migrations'\n")
    project.write("test_it.py", TESTS)
    assert_reported_once(project.run(), "[tool.alembic]", "1.16")


# The migrations

BROKEN = """
def innermost():
    raise ArithmeticError("no-such-number")

innermost()
"""


def test_a_migration_that_raises(shop: Project) -> None:
    """The traceback is shown whole, and once; with the migration mended the next run works."""
    shop.revision("two", BROKEN)
    result = shop.run_workers()
    output = assert_reported_once(
        result, "ArithmeticError: no-such-number", "two.py", "in innermost"
    )
    assert output.count("Traceback (most recent call last)") == 1
    assert shop.databases() == []

    shop.revision("two", down="one")
    shop.run().assert_outcomes(passed=4)
    assert len(shop.databases()) == 1


def test_a_migration_that_fails_for_a_reason_outside_of_it(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed in one run is not held against the next, though no file has changed."""
    shop.revision("two", 'op.execute(os.environ["STATEMENT"])')
    monkeypatch.setenv("STATEMENT", "SELECT * FROM no_such_table")
    assert_reported_once(
        shop.run(), "sqlalchemy.exc.ProgrammingError:", '"no_such_table"', "two.py"
    )
    assert shop.databases() == []
    monkeypatch.setenv("STATEMENT", "SELECT 1")
    shop.run().assert_outcomes(passed=4)


@pytest.mark.parametrize("option", [[], ["--pg-stats"]])
def test_a_server_that_is_newer_than_those_tested(
    shop: Project, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    monkeypatch.setattr(facts, "NEWEST", 13)
    result = shop.run(*option)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines([f"  PostgreSQL {shop.server.version} (* are tested) at *"])


HANGS = """
import fcntl, subprocess, sys

lock = open(os.environ["MIGRATION_LOG"], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("about to hang")
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[lock.fileno()])
op.execute("SELECT pg_sleep(600)")
"""


def test_migrations_that_create_a_schema_pgtemplate(shop: Project) -> None:
    """A failure after the migrations does not make each worker migrate again."""
    shop.revision("two", COUNTED + 'op.execute("CREATE SCHEMA pgtemplate")')
    assert_reported_once(
        shop.run_workers(),
        "the migrations created a schema pgtemplate",
        "rename your schema",
    )
    assert shop.migrations() == 1
    assert shop.databases() == []


def test_a_migration_that_ends_its_process(shop: Project) -> None:
    """Exit code 0 does not mean that all migrations have run."""
    shop.revision("two", "os._exit(0)")
    assert_reported_once(shop.run(), "ended before it was done")
    assert shop.databases() == []


@pytest.mark.full
def test_a_migration_that_takes_too_long(shop: Project) -> None:
    """The plugin kills it and its child processes, and shows its last output."""
    shop.revision("two", HANGS)
    result = shop.run_workers("--pg-timeout=12")
    assert_reported_once(result, "pg_timeout = 12 s", "about to hang", "--pg-timeout")
    assert shop.databases() == []
    with shop.log.open() as log:  # locked for as long as one of them lives
        deadline = time.monotonic() + 10
        while True:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                assert time.monotonic() < deadline, "a process of the migration lives on"
                time.sleep(0.01)
    assert (
        query(shop.server.url, "SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'")
        == []
    )


# The worst that an env.py can do: it looks at nothing that it is given, and commits by itself.
ELSEWHERE = {
    "as usual": SYNC_ENV,
    "autocommit": SYNC_ENV.replace(
        "engine.connect()", "engine.connect().execution_options(isolation_level='AUTOCOMMIT')"
    ),
    "async": ASYNC_ENV,
}
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"


def write_env_py_for(shop: Project, database: str, kind: str) -> URL:
    """Write an env.py that migrates ``database`` and ignores the URL of the plugin."""
    url = shop.server.url.set(database=database)
    driver = "asyncpg" if kind == "async" else "psycopg"
    spelled = str(_urls.render(_urls.for_driver(url, driver))).replace("%", "%%")
    env = ELSEWHERE[kind].replace(
        "config = context.config",
        f"config = context.config\nconfig.set_main_option('sqlalchemy.url', {spelled!r})",
    )
    shop.alembic(env)
    return url


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_env_py_that_ignores_the_url(shop: Project, kind: str) -> None:
    """Somebody's database is not migrated by running tests: it stays as it is."""
    other = f"{shop.prefix}_of_somebody"
    url = write_env_py_for(shop, other, kind)
    execute(shop.server.url, f"CREATE DATABASE {other}")
    try:
        assert_reported_once(shop.run(), f'"{other}"', "pg_env", "config.get_main_option")
        assert query(url, TABLES) == []
        assert shop.databases() == [other]
    finally:
        execute(shop.server.url, f"DROP DATABASE {other}")


@pytest.mark.parametrize("kind", ["as usual", "async"])
def test_env_py_that_ignores_the_url_and_finds_nothing(shop: Project, kind: str) -> None:
    """For example, the URL of a server that is not running."""
    other = f"{shop.prefix}_missing"
    write_env_py_for(shop, other, kind)
    assert_reported_once(
        shop.run(),
        "env.py failed before it called context.configure()",
        f'"{other}" does not exist',
        "pg_env",
    )
    assert shop.databases() == []


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ("", "no revision"),
        (SYNC_ENV.replace("context.run_migrations()", "pass"), "no revision"),
        (SYNC_ENV.replace("    with context.begin_transaction():\n    ", ""), "no revision"),
        (SYNC_ENV.replace("connection=connection", "url='postgresql://'"), "is_offline_mode"),
        ("import sys; sys.exit()", "sys.exit"),
    ],
    ids=["empty", "never migrates", "never commits", "offline", "exits"],
)
def test_env_py_that_leaves_nothing_behind(shop: Project, env: str, word: str) -> None:
    shop.alembic(env)
    assert_reported_once(shop.run(), word)
    assert shop.databases() == []


OWN = load_program("errors/own.py")


def test_a_custom_migrations_class_that_raises(shop: Project) -> None:
    shop.write("conftest.py", OWN)
    assert_reported_once(
        shop.run_workers(), "LookupError: no-such-thing", "conftest.py", "in migrate"
    )
    assert shop.databases() == []


# What works, although it looks as if it would not


@pytest.mark.parametrize(
    "name",
    ["x" * 100, 'Zoë\'s "Shop" $1 %s %(x)s; -- \\ ', "Δοκιμή テスト 🎉"],
    ids=["long", "quotes", "unicode"],
)
def test_unusual_names(shop: Project, name: str) -> None:
    name = unique("") + name
    shop.prefix = database_names.prefix_of(name)
    shop.run("--pg-name", name).assert_outcomes(passed=4)
    assert len(shop.databases()) == 1


def test_a_path_with_bytes_that_are_not_utf_8(tmp_path: Path) -> None:
    """Workers exchange the text of errors through files and reports."""
    error = TemplateError("no such file: " + os.fsdecode(b"caf\xe9"), hint="create it")
    reported = ReportedErrors(lambda: tmp_path)

    assert reported.claim(error)
    assert not ReportedErrors(lambda: tmp_path).claim(error)
    reported.record_failed_build("build", error)
    with pytest.raises(TemplateError) as caught:
        reported.raise_if_build_failed("build")
    assert digest(caught.value) == digest(error)
    assert "caf\\udce9" in str(caught.value)


def test_unusual_directory_name(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """No option at all: everything is found in, and named after, the directory of the project."""
    project.root = project.root / (unique("It's") + ' a "Größe", or so')
    project.prefix = database_names.prefix_of(project.root.name)
    project.write("pytest.ini", "[pytest]\n")
    monkeypatch.chdir(project.root)
    project.alembic()
    project.revision("one", ITEM)
    project.write("test_it.py", TESTS)
    project.run().assert_outcomes(passed=4)
    assert len(project.databases()) == 1


PASSWORD = "p%40@:/ ü'\"\\#?&=%s"


@pytest.mark.parametrize("env", [SYNC_ENV, ASYNC_ENV], ids=["sync", "async"])
def test_unusual_password(private: Project, private_url: URL, role: str, env: str) -> None:
    """It comes through every URL on the way, and is shown nowhere, not even by a traceback."""
    execute(
        private_url,
        f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD {quote_literal(PASSWORD)}",
    )
    url = str(_urls.render(tcp(private_url, username=role, password=PASSWORD)))
    private.alembic(env)
    result = private.run("--pg-url", url, "--pg-keep")
    result.assert_outcomes(passed=4)
    shown = [str(result.stdout)]

    private.revision(
        "two",
        """
        url = op.get_context().config.get_main_option("sqlalchemy.url")
        raise RuntimeError(url, url.split("@")[0], op.get_bind().engine.url.password)
        """,
    )
    result = private.run("--pg-url", url)
    shown.append(assert_reported_once(result, "RuntimeError: (", "***"))
    for output in shown:
        assert PASSWORD not in output
        assert url.split("@", maxsplit=1)[0].rpartition(":")[2] not in output
    private.clean()


def test_a_password_that_is_a_common_word(private: Project, private_url: URL, role: str) -> None:
    """It hides itself, and not every word that it is part of."""
    execute(private_url, f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'postgres'")
    url = tcp(private_url, username=role, password="postgres")
    private.revision("two", 'raise RuntimeError("postgresql://joe:postgres@host")')
    assert_reported_once(
        private.run("--pg-url", str(_urls.render(url))), "RuntimeError: postgresql://joe:***@host"
    )


def test_parameters_in_the_url(private: Project, private_url: URL) -> None:
    """Whatever libpq knows may be there, also what asyncpg would pass on to the server."""
    url = private_url.update_query_dict(
        {
            "sslmode": "disable",
            "application_name": "mine",
            "connect_timeout": "5",
            "channel_binding": "disable",
            "keepalives": "1",
            "options": "-c jit=off",
        }
    )
    for driver in ("", "+asyncpg", "+psycopg", "+psycopg2"):
        spelled = str(_urls.render(url)).replace("postgresql:", f"postgresql{driver}:")
        result = private.run("--pg-url", spelled)
        result.assert_outcomes(passed=4)


STOCK_TEST = load_program("errors/stock_test_.py")


@pytest.mark.parametrize(
    ("template", "driver"),
    [
        ("generic", ""),
        ("generic", "+psycopg"),
        ("async", ""),
        ("async", "+psycopg"),
        ("pyproject", "+psycopg"),
        ("pyproject_async", ""),
    ],
)
def test_the_environment_of_alembic_init_works(
    project: Project, template: str, driver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The environment as Alembic writes it, not a character of it changed."""
    if not Path(Config().get_template_directory(), template).is_dir():
        pytest.skip("this Alembic has no such template")
    toml = project.root / "pyproject.toml"
    options: dict[str, Any] = {"toml_file": str(toml)} if "pyproject" in template else {}
    config = Config(str(project.root / "alembic.ini"), **options)
    alembic.command.init(config, str(project.root / "migrations"), template=template)
    capsys.readouterr()
    project.revision("one", ITEM)
    project.write("test_it.py", STOCK_TEST)
    url = str(_urls.dsn(project.server.url)).replace("postgresql:", f"postgresql{driver}:")
    project.run("--pg-url", url).assert_outcomes(passed=1)


LAZY = load_program("errors/lazy.py")


def test_a_lazy_object_in_the_traceback_of_a_failure(project: Project) -> None:
    """It is not evaluated again, which would raise an error within pytest."""
    project.alembic()
    project.write("test_it.py", LAZY)

    result = project.run()

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E * LookupError: not bound"])
