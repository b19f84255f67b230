"""Workers that die, servers that stop, connections that break, room that runs out.

Each failure is reported once. The other workers continue, and no process or database is left.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server.marks import Mark
from pytest_pgtemplate._server.session import LOCK_SEED
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import sweep as _sweep
from support.programs import load_program
from support.projects import COUNTED, ITEM, TESTS, Project, make_project, query
from support.servers import PrivateServer, need_binaries, server_directory

MoreServers = Callable[..., PrivateServer]

# Tests and conftest.py talk to the outside through files.
FILES = load_program("crash/files.py")


@pytest.fixture
def shop(project: Project) -> Project:
    return with_tests(project)


def with_tests(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM + COUNTED)
    project.write("files.py", FILES)
    project.ini(pythonpath=".")
    project.write("test_it.py", TESTS)
    return project


def only_templates(project: Project) -> bool:
    return all("_tpl_" in name for name in project.databases())


def crashed(result: pytest.RunResult, *, workers: int, passed: int) -> None:
    """Check that xdist's reports of crashed workers are all that there is to be seen."""
    output = f"{result.stdout}{result.stderr}"
    outcomes = {"failed": workers, "passed": passed} if workers else {"passed": passed}
    assert result.parseoutcomes() == outcomes, output
    assert output.count("FAILED") == output.count("FAILED test_it.py")
    assert output.count("' crashed while running 'test_it.py") == workers
    for word in ("HINT", "Traceback", "INTERNALERROR", "Error"):
        assert word not in output


# Workers

DYING = load_program("crash/dying.py")


def test_workers_that_die_in_tests(shop: Project) -> None:
    shop.write("test_it.py", DYING)
    crashed(shop.run_workers(), workers=2, passed=6)
    assert shop.migrations() == 1
    assert len(shop.databases()) == 1
    assert only_templates(shop)


@pytest.mark.full
def test_what_is_to_be_kept_is_kept_after_a_crash(shop: Project) -> None:
    shop.write("test_it.py", DYING)
    crashed(shop.run_workers("--pg-keep", workers=1), workers=2, passed=6)
    assert len([name for name in shop.databases() if "_tpl_" not in name]) == 3


def test_a_worker_that_dies_where_no_test_needs_a_database(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No server is started to look for what it left."""
    for variable in ("PGTEMPLATE_URL", "CI"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pytester.makepyfile("import os\n\ndef test_it():\n    os._exit(1)\n")
    result = pytester.runpytest_subprocess("-n", "1", "--max-worker-restart", "0")
    assert result.parseoutcomes()["failed"] == 1
    assert not any(tmp_path.iterdir())


KILLS_ITS_PARENT = """
import signal
from files import claim
if claim("killed"):
    os.kill(os.getppid(), signal.SIGKILL)
    op.execute("SELECT pg_sleep(60)")
"""


@pytest.mark.usefixtures("new_interpreters")
def test_a_worker_that_dies_in_a_migration(shop: Project) -> None:
    """Its migrating child ends with it, and another worker builds what it could not.

    While it collects, it is replaced and no test fails. Later it has a test already.
    """
    shop.revision("two", KILLS_ITS_PARENT)
    result = shop.run_workers()
    assert (shop.root / "killed").exists()
    failed = result.parseoutcomes().get("failed", 0)
    crashed(result, workers=failed, passed=4 - failed)
    assert len(shop.databases()) == 1
    assert only_templates(shop)
    sleeping = "SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND datname = $1"
    assert not query(shop.server.url, sleeping, f"{shop.prefix}_")


# A statement of the plugin's own during which a worker dies, once in a run.
DIES_DURING = """
import os, signal, threading
import pytest
from files import claim
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._reset import Resetter

execute, reset = Server._execute, Resetter.reset

def die_in(seconds):
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

def dying_execute(self, statement):
    wanted = "{statement}"
    if wanted and wanted in statement and "_gw" in statement and claim("died"):
        die_in({seconds})
    return execute(self, statement)

def dying_reset(self, *going):
    if not "{statement}" and claim("died"):
        die_in(0)
    return reset(self, *going)

Server._execute, Resetter.reset = dying_execute, dying_reset
"""
MOMENTS = {
    "clone": ("CREATE DATABASE", 0.01),
    "mark": ("COMMENT ON DATABASE", 0),
    "reset": ("", 0),
    "drop": ("DROP DATABASE", 0.002),
    "before a database is a spare": ("ALLOW_CONNECTIONS false", 0),
    "while it becomes one": ("ALLOW_CONNECTIONS False", 0),
    "while a spare is taken": ("ALLOW_CONNECTIONS True", 0),
}


IN_TESTS = {"reset", "drop"}
AFTER_THE_TESTS = {"before a database is a spare", "while it becomes one"}
OFTEN = {"mark", "reset"}  # tried in the short form


@pytest.mark.parametrize(
    "moment",
    [each if each in OFTEN else pytest.param(each, marks=pytest.mark.full) for each in MOMENTS],
)
def test_a_worker_that_dies_in_a_statement_of_ours(shop: Project, moment: str) -> None:
    statement, seconds = MOMENTS[moment]
    if "taken" in moment:
        shop.run_workers().assert_outcomes(passed=4)
    shop.write("conftest.py", DIES_DURING.format(statement=statement, seconds=seconds))
    result = shop.run_workers("--pg-isolation", "clone" if moment == "drop" else "truncate")
    assert (shop.root / "died").exists()
    output = f"{result.stdout}{result.stderr}"
    outcomes = result.parseoutcomes()
    failed = outcomes.pop("failed", 0)
    # No test fails with a worker that has reported its last test, or that still collects.
    assert failed in ({0} if moment in AFTER_THE_TESTS else {1} if moment in IN_TESTS else {0, 1})
    assert set(outcomes) == {"passed"}, output
    assert "HINT" not in output
    assert "Traceback" not in output
    assert len(shop.databases()) == 1
    assert only_templates(shop)
    shop.run_workers().assert_outcomes(passed=4)  # whatever it left, it is no dirty spare


# Servers


@pytest.fixture
def more_servers() -> Iterator[MoreServers]:
    """Start a server with options of its own; it is stopped at the end, if it is not yet."""
    need_binaries()
    with server_directory() as directory:
        started: list[PrivateServer] = []

        def start(**options: Any) -> PrivateServer:
            server = PrivateServer(directory, **options)
            server.start()
            started.append(server)
            return server

        yield start
        for server in started:
            server.stop()


@pytest.fixture
def on(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[[PrivateServer], Project]:
    """Make the project on a private server, which is removed after the test."""

    def make(private: PrivateServer) -> Project:
        server = Server(private.url, timeout=60)
        project = next(make_project(pytester, monkeypatch, server, private.url))
        return with_tests(project)

    return make


RESTARTED = load_program("crash/restarted.py")


def test_a_server_that_stops_and_starts_in_the_middle_of_a_run(
    more_servers: MoreServers, on: Callable[[PrivateServer], Project]
) -> None:
    """A restart between two tests fails no test; while the server is down, one test fails."""
    private = more_servers()
    shop = on(private)
    shop.write("test_it.py", RESTARTED)
    acts = {
        "restart": [private.stop, private.start],
        "stop": [private.stop],
        "start": [private.start],
    }
    command = shop.command("-p", "no:xdist", "-rA")
    with subprocess.Popen(command, cwd=shop.root, stdout=subprocess.PIPE, text=True) as run:
        for name, steps in acts.items():
            while not (shop.root / name).exists() and run.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    run.wait(0.02)
            for step in steps:
                step()
            (shop.root / f"{name}.done").touch()
        output, _ = run.communicate(timeout=120)
    outcomes = pytest.RunResult.parse_summary_nouns(output.splitlines())
    assert outcomes == {"passed": 6, "skipped": 2, "errors": 1}, output
    assert output.count("HINT") == 1
    for name in ("before", "restart", "between", "after", "plain"):
        assert f"PASSED test_it.py::test_{name}" in output
    assert "Traceback" not in output
    shop.write("test_it.py", TESTS)
    shop.run("-W", "error").assert_outcomes(passed=4)
    assert len(shop.databases()) == 1
    shop.server.close()


BREAKS_CONNECTIONS = load_program("crash/breaks_connections.py")


def test_connections_that_break(
    more_servers: MoreServers, on: Callable[[PrivateServer], Project]
) -> None:
    shop = on(more_servers())
    shop.write("test_it.py", BREAKS_CONNECTIONS)
    shop.run("-W", "error").assert_outcomes(passed=6)
    assert len(shop.databases()) == 1
    shop.server.close()


STOPS_THE_SERVER = load_program("crash/stops_the_server.py")


def test_a_server_that_stops_and_stays_away(
    more_servers: MoreServers,
    on: Callable[[PrivateServer], Project],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broken connection and a stopped server are reported, and nothing more at the end."""
    private = more_servers()
    shop = on(private)
    monkeypatch.setenv("POSTMASTER", str(private.pid))
    shop.write("test_it.py", STOPS_THE_SERVER)
    result = shop.run_workers("-p", "no:randomly", workers=1)
    output = f"{result.stdout}{result.stderr}"
    outcomes = result.parseoutcomes()
    errors = outcomes.get("error", 0) + outcomes.get("errors", 0)
    assert outcomes["passed"] == 3, output
    assert errors + outcomes.get("skipped", 0) == 2
    assert output.count("HINT:") == errors >= 1
    assert "Traceback" not in output
    result.stdout.fnmatch_lines(["pgtemplate: template *"])


def test_a_lease_is_claimed_again_when_its_connection_breaks(
    prefix: str, own_server: Server, unattended: Server
) -> None:
    """At once, not when its owner next has something to say: another run may be about to sweep."""
    name = database_names.worker(prefix, "0a1b2c3d", "gw0")
    unattended.lease(name)
    unattended.create(name, Mark("worker", "0a1b2c3d"))
    broken = query(own_server.url, BREAK_LEASE, name, LOCK_SEED)
    assert len(broken) == 1
    deadline = time.monotonic() + 30
    while not query(own_server.url, LEASED, name, LOCK_SEED, broken[0]["pid"]):
        assert time.monotonic() < deadline
    assert _sweep.sweep(own_server, prefix) == []
    unattended.drop(name)
    unattended.release(name)
    assert not query(own_server.url, LEASED, name, LOCK_SEED, 0)


BREAKS_THE_BUILD = """
from files import claim
if claim("broken"):
    op.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'pytest-pgtemplate'"
    )
"""


def test_what_was_built_without_its_lock_is_not_published(
    more_servers: MoreServers, on: Callable[[PrivateServer], Project]
) -> None:
    """A server that crashed and recovered may have lost what the migrations had committed."""
    shop = on(more_servers())
    shop.revision("two", BREAKS_THE_BUILD)
    assert_reported_once(shop.run(), "while it held a lock")
    assert not any("_tpl_" in name for name in shop.databases())
    shop.run().assert_outcomes(passed=4)
    assert len(shop.databases()) == 1
    shop.server.close()


@pytest.fixture
def damaged(more_servers: MoreServers, on: Callable[[PrivateServer], Project]) -> Project:
    """A project with a template, on a server that has crashed since it was built."""
    private = more_servers()
    shop = on(private)
    shop.run().assert_outcomes(passed=4)
    shop.server.close()
    private.crash()
    private.start()
    return shop


def test_a_template_that_lost_its_unlogged_tables_is_built_again(damaged: Project) -> None:
    assert_reported_once(damaged.run(), "lost the rows of its unlogged tables")
    damaged.run().assert_outcomes(passed=4)


READS_NOTE = """
from sqlalchemy import text

def test_note(pg_sync_session):
    assert pg_sync_session.scalars(text("SELECT text FROM note")).all() == ["a"]
"""
UNLOGGED = """
op.execute("CREATE UNLOGGED TABLE note (text text); INSERT INTO note VALUES ('a')")
"""


@pytest.fixture
def damaged_with_scan(more_servers: MoreServers, on: Callable[[PrivateServer], Project]) -> Project:
    """Nothing of the plugin is in the database: only a table of the user's has lost its rows."""
    private = more_servers()
    shop = on(private)
    shop.ini(pythonpath=".", pg_tracking="scan")
    shop.revision("two", UNLOGGED)
    shop.run().assert_outcomes(passed=4)
    assert len(shop.spares()) == 1
    shop.server.close()
    private.crash()
    private.start()
    return shop


def test_with_scan_the_rows_of_unlogged_tables_show_that_a_template_is_damaged(
    damaged_with_scan: Project,
) -> None:
    """The next run would take a spare."""
    shop = damaged_with_scan
    assert_reported_once(shop.run(), "lost the rows of its unlogged tables")
    shop.run().assert_outcomes(passed=4)
    result = shop.run()
    result.assert_outcomes(passed=4)
    assert "(1 spare)" in str(result.stdout)


def test_with_scan_a_damaged_template_is_not_the_start_of_another_one(
    damaged_with_scan: Project,
) -> None:
    shop = damaged_with_scan
    shop.revision("more", "pass")
    shop.write("test_note.py", READS_NOTE)

    assert_reported_once(shop.run("test_it.py"), "lost the rows of its unlogged tables")
    shop.run().assert_outcomes(passed=5)


def test_with_scan_a_damaged_template_is_not_saved(damaged_with_scan: Project) -> None:
    command = [sys.executable, "-m", "pytest_pgtemplate._cli.main", "save", "cache.pgt"]
    root = damaged_with_scan.root

    saved = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)

    assert saved.returncode == 1
    assert "lost the rows of its unlogged tables" in saved.stderr
    assert not (root / "cache.pgt").exists()
    assert damaged_with_scan.databases() == []


def test_with_scan_a_damaged_template_is_not_checked(damaged_with_scan: Project) -> None:
    """It would be compared with a new build, and a difference reported."""
    shop = damaged_with_scan

    checked = shop.run("--pg-check", "-k", "build")

    assert "lost the rows of its unlogged tables" in str(checked.stdout)
    assert shop.databases() == []
    shop.run("--pg-check", "-k", "build").assert_outcomes(passed=1, deselected=8)


def test_a_damaged_template_is_not_the_start_of_another_one(damaged: Project) -> None:
    """It lost the rows of unlogged tables, and an incremental build would hide that."""
    damaged.revision("more", "pass")

    assert_reported_once(damaged.run(), "lost the rows of its unlogged tables")
    result = damaged.run()

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*migrated * of * revisions*"])
    assert len([name for name in damaged.databases() if "_tpl_" in name]) == 1


BREAK_LEASE = """
SELECT pid, pg_terminate_backend(pid, 5000) FROM pg_locks
 WHERE locktype = 'advisory' AND (classid::bigint << 32) | objid::bigint = hashtextextended($1, $2)
"""
LEASED = """
SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid <> $3
   AND (classid::bigint << 32) | objid::bigint = hashtextextended($1, $2)
"""


@pytest.fixture
def unattended(own_server: Server) -> Iterator[Server]:
    """A connection of another process's, which is doing something else."""
    made = Server(own_server.url, timeout=60)
    yield made
    made.close()


# Room


def assert_reported_once(result: pytest.RunResult, *words: str) -> None:
    output = f"{result.stdout}{result.stderr}"
    result.assert_outcomes(errors=1, skipped=2, passed=1)
    assert output.count("HINT:") == 1
    assert "Traceback" not in output
    for word in words:
        assert word in output


@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk has to be mounted")
def test_a_disk_that_is_full(on: Callable[[PrivateServer], Project]) -> None:
    with server_directory() as directory:
        mount = ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(directory)]
        if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
            pytest.skip("nothing can be mounted here")
        try:
            private = PrivateServer(directory, max_wal_size="32MB", min_wal_size="32MB")
            private.start()
            try:
                _fill_and_free(on(private), directory)
            finally:
                private.stop()
        finally:
            subprocess.run(["umount", directory], check=True)


def _fill_and_free(shop: Project, disk: Path) -> None:
    shop.run().assert_outcomes(passed=4)
    for spare in shop.spares():  # a run that takes one needs no room
        shop.server.drop(spare)
    fill = disk / "fill"
    free = os.statvfs(disk)
    with fill.open("wb") as file:
        file.truncate(0)
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize - 3_000_000)
    assert_reported_once(shop.run(), "53100", "free disk space")
    assert len(shop.databases()) == 1
    fill.unlink()
    shop.run().assert_outcomes(passed=4)
    shop.server.close()


MANY_TABLES = """
import pathlib
import pytest
from pytest_pgtemplate import SqlFiles

@pytest.fixture(scope="session")
def pg_migrations():
    return SqlFiles(*sorted(pathlib.Path("sql").iterdir()))
"""


@pytest.mark.full
def test_locks_that_run_out(
    more_servers: MoreServers, on: Callable[[PrivateServer], Project]
) -> None:
    shop = on(more_servers(max_locks_per_transaction=10, max_connections=20))
    shop.write("conftest.py", MANY_TABLES)
    item = "CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY, name text);"
    shop.write("sql/00.sql", f"{item} INSERT INTO item (name) VALUES ('reference');")
    for n in range(1, 16):
        tables = (f"CREATE TABLE t{n}_{m} (id int PRIMARY KEY);" for m in range(100))
        shop.write(f"sql/{n:02}.sql", "\n".join(tables))
    assert_reported_once(shop.run(), "53200", "max_locks_per_transaction")
    assert shop.databases() == []
    for path in sorted((shop.root / "sql").iterdir())[1:]:
        path.unlink()
    shop.run().assert_outcomes(passed=4)
    shop.server.close()


def test_more_workers_than_there_are_connections_for(
    more_servers: MoreServers, on: Callable[[PrivateServer], Project]
) -> None:
    shop = on(more_servers(max_connections=14))
    two, three = shop.run_workers(workers=2), shop.run_workers(workers=3)
    two.assert_outcomes(passed=4)
    two.stdout.no_fnmatch_line("*run out of*")
    three.assert_outcomes(passed=4)
    # Before the tests end, and in the summary:
    line = "pgtemplate: *run out of connections*at most 2 workers"
    three.stdout.fnmatch_lines([line, "*[[]100%]*", "  *run out of connections*at most 2 workers"])
    assert three.stdout.str().count("run out of connections") == 2
    shop.server.close()
