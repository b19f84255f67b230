"""The ``pgtemplate`` command, run as a user runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _embedded, _urls
from pytest_pgtemplate._cli import main
from pytest_pgtemplate._server import Mark, Server
from support.projects import ITEM, TESTS, Project, execute, make_project
from support.servers import free_port, private_server

Capture = pytest.CaptureFixture[str]


def pgtemplate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "pytest_pgtemplate._cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def shop(project: Project) -> Project:
    return with_tests(project)


def with_tests(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.prepare_template()
    project.write("test_it.py", TESTS)
    return project


SQL_FILES = """
from pathlib import Path
import pytest
from pytest_pgtemplate import SqlFiles

@pytest.fixture(scope="session")
def pg_migrations():
    return SqlFiles(Path(__file__).parent / "schema.sql")
"""


def lines_about(shop: Project, text: str) -> list[str]:
    return [line for line in text.splitlines() if shop.prefix in line]


@pytest.fixture
def private(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, private_url: URL
) -> Iterator[Project]:
    """The same, on a server without databases of other tests, which prune would drop."""
    server = Server(private_url, timeout=60)
    for project in make_project(pytester, monkeypatch, server, private_url):
        yield with_tests(project)
    server.close()


def test_list_and_prune(private: Project, capsys: Capture) -> None:
    """A kept database is listed; prune drops it only with --kept."""
    shop = private
    shop.run("--pg-keep").assert_outcomes(passed=4)
    worker, template = shop.databases()
    capsys.readouterr()

    assert main.main(["list"]) == 0
    first, second = lines_about(shop, capsys.readouterr().out)
    assert re.match(rf"{worker} +kept +\w{{8}}  \S+ \(pid \d+\) +last used \d+ min ago", first)
    assert re.match(rf"{template} +template +\w{{8}}  ", second)

    assert main.main(["list", "--json"]) == 0
    listed = {each["database"]: each for each in json.loads(capsys.readouterr().out)}
    assert (listed[worker]["kind"], listed[template]["kind"]) == ("kept", "template")
    assert listed[worker]["fingerprint"] == listed[template]["fingerprint"]

    shop.server.lease(worker)
    assert main.main(["list"]) == 0
    assert lines_about(shop, capsys.readouterr().out)[0].endswith("  in use")
    shop.server.release(worker)

    assert main.main(["prune"]) == 0
    assert shop.databases() == [worker, template]
    assert main.main(["prune", "--kept"]) == 0
    assert f"dropped {worker}" in capsys.readouterr().out
    assert shop.databases() == [template]
    assert main.main(["prune", "--kept"]) == 0
    assert lines_about(shop, capsys.readouterr().out) == []
    assert main.main(["prune", "--templates"]) == 0
    assert shop.databases() == []


def test_prune_says_what_it_cannot_drop(private: Project, capsys: Capture) -> None:
    """PostgreSQL does not drop a database that has a subscription."""
    name = f"{private.prefix}_{'0' * 8}_main"
    private.server.create(name, Mark("worker", "0" * 8))
    unconnected = "CONNECTION 'dbname=none' PUBLICATION none WITH (connect = false)"
    execute(private.server.url, f"CREATE SUBSCRIPTION mine {unconnected}", database=name)
    capsys.readouterr()

    assert main.main(["prune"]) == 0
    output = capsys.readouterr().out
    assert f"did not drop {name}: " in output
    assert "DROP SUBSCRIPTION" in output

    for words in ("ALTER {} DISABLE", "ALTER {} SET (slot_name = NONE)", "DROP {}"):
        execute(private.server.url, words.format("SUBSCRIPTION mine"), database=name)
    assert main.main(["prune"]) == 0
    assert f"dropped {name}" in capsys.readouterr().out


def test_doctor(shop: Project) -> None:
    result = pgtemplate("doctor")
    assert (result.returncode, result.stderr) == (0, "")
    for line in (
        rf"good  server +PostgreSQL {shop.server.version} at ",
        rf"good  role +{shop.server.facts.role}, superuser: yes$",
        rf"\w+  connections +{shop.server.facts.max_connections}, enough for ",
        r"\w+  locks +\d+, and the largest template has \d+ tables and indexes$",
        r"\w+  round trip +[\d.]+ ms$",
        r"\w+  disk +fsync is o\w+; a commit takes [\d.]+ ms$",
        r"\w+  clone (?:WAL_LOG|FILE_COPY) +[\d.]+ ms for an empty database",
    ):
        assert re.search(f"^{line}", result.stdout, re.MULTILINE), line
    assert not [each for each in shop.server.databases() if each.name.startswith("pgtemplate_")]


def test_doctor_says_which_setting_to_change(private_url: URL, capsys: Capture) -> None:
    execute(private_url, "CREATE ROLE plain LOGIN CREATEDB")
    url = str(_urls.render(private_url.set(username="plain")))

    assert main.main(["--url", url, "doctor", "--json"]) == 0
    found = {each["topic"]: each for each in json.loads(capsys.readouterr().out)}
    assert (found["role"]["verdict"], found["server"]["verdict"]) == ("note", "good")
    assert 'ALTER ROLE "plain" SUPERUSER' in found["role"]["advice"]
    execute(private_url, "DROP ROLE plain")


def test_doctor_and_the_summary_compare_locks_with_tables(
    project: Project, capsys: Capture
) -> None:
    """A worker may lock all tables and indexes at once: for a scan, and to compare a database."""
    with private_server(max_connections=14, max_locks_per_transaction=10) as url:
        project.write("conftest.py", SQL_FILES)
        tables = (f"CREATE TABLE t{n} (id int PRIMARY KEY);" for n in range(100))
        project.write("schema.sql", "".join(tables))
        project.write("test_it.py", "def test_it(pg): pass")
        address = str(_urls.render(url))
        result = project.run("--pg-url", address)
        result.assert_outcomes(passed=1)
        line = "may run out of locks: raise max_locks_per_transaction*"
        result.stdout.fnmatch_lines([f"pgtemplate: *{line}", "*[[]100%]", f"  *{line}"])
        capsys.readouterr()

        assert main.main(["--url", address, "doctor", "--json"]) == 0
        found = {each["topic"]: each for each in json.loads(capsys.readouterr().out)}
        assert found["locks"]["verdict"] == "note"
        assert found["locks"]["advice"].startswith("max_locks_per_transaction = ")


@pytest.mark.parametrize("command", [["list"], ["prune"], ["doctor"]])
def test_a_server_that_is_down(command: list[str], capsys: Capture) -> None:
    port = free_port()
    url = f"postgresql://joe:hunter2@127.0.0.1:{port}/postgres"
    assert main.main(["--url", url, *command]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pgtemplate: cannot connect")
    assert f"127.0.0.1:{port}" in captured.err
    assert captured.err.count("HINT:") == 1
    assert "hunter2" not in captured.err


WRONG = ["mysql://joe:hunter2@there", "nonsense", "postgresql://[::1/x"]


@pytest.mark.parametrize("url", [*WRONG, "postgresql://one/ postgresql://joe:hunter2@two/"])
def test_an_invalid_url_is_refused(url: str, capsys: Capture) -> None:
    assert main.main(["--url", url, "list"]) == 1
    error = capsys.readouterr().err
    assert "HINT:" in error
    assert "hunter2" not in error


def test_what_it_does_not_understand(capsys: Capture) -> None:
    for arguments in ([], ["drop"], ["server", "start"]):
        with pytest.raises(SystemExit) as stopped:
            main.main(arguments)
        assert stopped.value.code == 2
        assert "usage: pgtemplate" in capsys.readouterr().err


# The embedded server


def test_the_embedded_server(new_user_home: Path) -> None:
    assert pgtemplate("server", "status").stdout == "never started\n"
    assert pgtemplate("server", "stop").stdout == "the embedded server was not running\n"
    assert not any(new_user_home.iterdir())

    handle = _embedded.acquire(None, timeout=60)
    running = pgtemplate("server", "status")
    status = _embedded.status(None)
    assert status is not None
    assert running.returncode == 0
    for word in (f"running, pid {status.pid}\n", "in use: yes", status.url, str(new_user_home)):
        assert word in running.stdout
    assert pgtemplate("list").stdout == ""
    assert pgtemplate("server", "stop").stdout == "stopped\n"
    assert "not running\n" in pgtemplate("server", "status").stdout
    handle.close()


def test_no_embedded_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PGTEMPLATE_URL", raising=False)
    for command in (["list"], ["server", "status"]):
        result = pgtemplate("--bindir", str(tmp_path), *command)
        assert result.returncode == 1
        assert str(tmp_path) in result.stderr
        assert "HINT:" in result.stderr
        assert "Traceback" not in result.stderr


def test_the_url_of_the_environment(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.run().assert_outcomes(passed=4)
    assert lines_about(shop, pgtemplate("list").stdout)
    monkeypatch.setenv("PGTEMPLATE_URL", f"postgresql://joe@127.0.0.1:{free_port()}/postgres")
    assert pgtemplate("list").returncode == 1
    url = str(_urls.render(shop.server.url))
    assert lines_about(shop, pgtemplate("--url", url, "list").stdout)
    assert os.environ["PGTEMPLATE_URL"] not in url
