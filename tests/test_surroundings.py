"""The environment of a run: libpq variables, timeouts of the role, poolers, other plugins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from itertools import takewhile
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._server import Server, explain
from pytest_pgtemplate._urls import libpq_variables
from pytest_pgtemplate.errors import ServerError
from support.kinds import url_of
from support.poolers import pgbouncer
from support.programs import load_program
from support.projects import ITEM, PLAIN, Project, execute, interruptible, make_project, unique
from support.servers import tcp

TEST = load_program("surroundings/tests.py")


@pytest.fixture
def shop(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.write("test_it.py", TEST)
    return project


def run(project: Project, *arguments: str) -> pytest.RunResult:
    return project.pytester.runpytest_subprocess(*PLAIN, "--pg-timeout=60", *arguments)


# Environment variables of libpq

MISLEADING = {
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/nowhere/root.crt",
    "PGTARGETSESSIONATTRS": "read-only",
    "PGSERVICE": "no_such_service",
    "PGOPTIONS": "-c search_path=nowhere",
    "PGHOSTADDR": "127.0.0.9",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGCHANNELBINDING": "require",
    "PGGSSENCMODE": "require",
    "PGCLIENTENCODING": "LATIN1",
    "PGPORT": "1",
    "PGUSER": "nobody",
}


def test_variables_do_not_reach_the_embedded_server(
    shop: Project, new_user_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin, the drivers of tests and env.py do not see them; the run restores them."""
    assert new_user_home
    shop.write(
        "conftest.py",
        """
        import os

        def pytest_configure(config):  # cleanups run in reverse order: this one comes last
            config.add_cleanup(lambda: print("PGSSLMODE is", os.environ.get("PGSSLMODE")))
        """,
    )
    with monkeypatch.context() as context:
        for name, value in MISLEADING.items():
            context.setenv(name, value)
        result = run(shop)
    result.assert_outcomes(passed=1)
    assert "PGSSLMODE is verify-full" in result.stdout.str()


FULL = pytest.mark.full
BOTH = load_program("surroundings/both.py")


@pytest.mark.parametrize(
    "driver", ["asyncpg", *(pytest.param(name, marks=FULL) for name in ("psycopg", "psycopg2"))]
)
def test_variables_reach_only_the_databases_on_another_server(
    shop: Project,
    new_user_home: Path,
    system_url: URL,
    monkeypatch: pytest.MonkeyPatch,
    driver: str,
) -> None:
    """PGSSLMODE would fail on the embedded server, which has no TLS."""
    assert new_user_home
    url = _urls.render(_urls.for_driver(system_url, driver))
    shop.ini(pg_databases="orders", pg_url_orders=url, pg_listen="true")
    shop.write("orders.sql", "CREATE SCHEMA app; CREATE TABLE bill (name text)")
    shop.write("test_it.py", BOTH)
    monkeypatch.setenv("PGSSLMODE", "require")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=app")

    run(shop).assert_outcomes(passed=1)


@pytest.mark.parametrize("is_hidden", [False, True])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGTARGETSESSIONATTRS", "read-only"),
        ("PGSSLMODE", "require"),
        ("PGSERVICE", "with_tls"),
    ],
)
def test_errors_of_another_server_name_the_libpq_variables(
    system_url: URL,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    *,
    is_hidden: bool,
) -> None:
    services = tmp_path / "services"
    services.write_text("[with_tls]\nsslmode=require\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv("PGDATESTYLE", "ISO")
    monkeypatch.setenv(name, value)
    url = system_url if name == "PGTARGETSESSIONATTRS" else tcp(system_url)
    if is_hidden:  # as in a run that uses the embedded server, too
        url = _urls.parse(libpq_variables.add_to_url(_urls.render(url)))
    with libpq_variables.hide() if is_hidden else nullcontext(), pytest.raises(ServerError) as e:
        Server(url, timeout=10)
    assert name in e.value.hint
    assert ("PGDATESTYLE" in e.value.hint) is not is_hidden


# Timeouts of a role

LIMITS = [
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
]


@pytest.mark.parametrize("where", ["embedded", "system"])
def test_timeouts_of_the_role_do_not_apply_to_admin_sessions(
    where: str, request: pytest.FixtureRequest
) -> None:
    url = url_of(request, where)
    role = unique("limited")
    admin = Server(url, timeout=60)
    names = [name for name in LIMITS if admin.facts.major >= 17 or name != "transaction_timeout"]
    settings = [f"ALTER ROLE {role} SET {name} = '900ms'" for name in names]
    execute(url, f"CREATE ROLE {role} LOGIN SUPERUSER", *settings)
    try:
        server = Server(url.set(username=role), timeout=60)
        query = "SELECT name, setting FROM pg_settings WHERE name = ANY($1)"
        found = dict(map(tuple, server._session.fetch(query, names)))
        server.close()
        assert found == {name: "60000" if name == "lock_timeout" else "0" for name in names}
    finally:
        execute(url, f"DROP ROLE {role}")
        admin.close()


# Poolers


@pytest.mark.parametrize(
    "error", [asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError]
)
def test_a_prepared_statement_of_another_backend_is_reported_as_a_pooler(
    error: type[Exception],
) -> None:
    found = explain(error("prepared statement"), URL.create("postgresql", host="db"))
    assert "pooler" in found.message


def test_a_pooler_in_transaction_mode_is_reported_once(
    system_project: Project, system_url: URL
) -> None:
    system_project.write("test_it.py", TEST)
    with pgbouncer(system_url, "transaction") as url:
        result = run(system_project, "-n2", "--pg-url", str(_urls.render(url)))
    text = result.stdout.str()
    assert result.ret != 0
    assert "pooler" in text
    for sqlstate in ("42P05", "26000", "08P01", "already exists", "does not exist"):
        assert sqlstate not in text


# Other plugins and unusual streams


@pytest.mark.full
@pytest.mark.parametrize("capture", ["-s", "--capture=fd"])
def test_pytest_f_runs_the_tests(shop: Project, capture: str) -> None:
    """Its stdout has no descriptor, so there is no progress line, and no other difference."""
    with interruptible():
        run = subprocess.Popen(
            shop.command("-f", capture),
            cwd=shop.root,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},  # its last line is not flushed
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    assert run.stdout is not None
    shown = list(takewhile(lambda line: "waiting for changes" not in line, run.stdout))
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert "1 passed" in "".join(shown)


def enable(monkeypatch: pytest.MonkeyPatch, plugin: str) -> None:
    """Let child runs load a plugin that this run is without."""
    off = os.environ["PYTEST_ADDOPTS"].split()
    off.remove(f"-pno:{plugin}")
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(off))


def command(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("pgtemplate")
    return subprocess.run(
        [program, *arguments],
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.full
@pytest.mark.parametrize("options", [["-pno:xdist"], ["-n2"], ["-n2", "--retries=2"]])
def test_pgtemplate_build_works_with_and_without_other_plugins(
    shop: Project, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    if "--retries=2" in options:
        pytest.importorskip("pytest_retry")
        enable(monkeypatch, "pytest-retry")
    done = command(shop, "build", *PLAIN, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "migrated" in done.stdout


UNIX, TCP = "--allow-unix-socket", "--allow-hosts=127.0.0.1"


@pytest.mark.full
def test_pytest_socket_and_a_server_with_host_and_port(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, private_url: URL
) -> None:
    pytest.importorskip("pytest_socket")
    execute(private_url, "ALTER ROLE postgres PASSWORD 'secret'")
    server = Server(private_url, timeout=60)
    for shop in make_project(pytester, monkeypatch, server, tcp(private_url, password="secret")):
        shop.alembic()
        shop.revision("one", ITEM)
        shop.write("test_it.py", TEST)
        enable(monkeypatch, "socket")
        run(shop, "--disable-socket", UNIX, TCP).assert_outcomes(passed=1)
        run(shop, "--disable-socket", UNIX).assert_outcomes(errors=1)
    server.close()


@pytest.mark.parametrize("allowed", [False, True])
def test_pytest_socket_causes_one_error_that_names_its_option(
    shop: Project, monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    """Event loops need Unix sockets: one error names the option."""
    pytest.importorskip("pytest_socket")
    enable(monkeypatch, "socket")
    options = ["--disable-socket", *(["--allow-unix-socket"] if allowed else [])]
    result = run(shop, *options)
    if allowed:
        result.assert_outcomes(passed=1)
    else:
        result.assert_outcomes(errors=1)
        text = result.stdout.str()
        assert "--allow-unix-socket" in text
        assert "Traceback" not in text
        assert len(text.splitlines()) < 40


@pytest.mark.parametrize("arguments", ["", "thread=False, select=False"])
def test_gevent_causes_one_error_that_names_the_remedy(shop: Project, arguments: str) -> None:
    """With the patches that the error recommends, tests run."""
    pytest.importorskip("gevent")
    shop.write("conftest.py", f"from gevent import monkey\nmonkey.patch_all({arguments})\n")
    shop.write("test_it.py", TEST.partition("    assert asyncio")[0])
    result = run(shop, "-Wignore")
    if arguments:
        result.assert_outcomes(passed=1)
    else:
        result.assert_outcomes(errors=1)
        assert "thread=False, select=False" in result.stdout.str()
