"""Many runs, hosts and servers at once: each template is migrated once."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from filelock import FileLock
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._urls import database_names
from support.programs import load_program
from support.projects import COUNTED, ITEM, TESTS, Project, execute, make_project
from support.servers import free_port, private_server, tcp

PASSWORD = "hunter2"
ENDS = 180  # seconds in which all runs of a test end

# The end of a migration records the port of its server.
RECORDS_ITS_PORT = """
port = op.get_bind().exec_driver_sql("SHOW port").scalar()
with open(os.environ["MIGRATION_LOG"], "a") as log:
    log.write(f"{port}\\n")
"""


@pytest.fixture(scope="module")
def roomy_url() -> Iterator[URL]:
    """A server for all these runs at once, over TCP and with a password."""
    with private_server(max_connections=150) as url:
        execute(url, f"CREATE ROLE joe SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
        yield tcp(url, username="joe", password=PASSWORD)


@pytest.fixture
def shop(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, roomy_url: URL
) -> Iterator[Project]:
    server = Server(roomy_url, timeout=60)
    for project in make_project(pytester, monkeypatch, server, roomy_url):
        project.alembic()
        project.revision("one", ITEM + COUNTED)
        project.write("test_it.py", TESTS)
        yield project
    server.close()


def host(project: Project, name: str) -> dict[str, str]:
    """The environment of one host: it has nothing in common with another but the server."""
    variables = {"HOME": "home", "TMPDIR": "tmp", "XDG_CACHE_HOME": "cache"}
    environment = dict(os.environ)
    for variable, directory in variables.items():
        path = project.root / name / directory
        path.mkdir(parents=True, exist_ok=True)
        environment[variable] = str(path)
    return environment


def start(project: Project, environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        project.command("-p", "no:xdist", *arguments),
        cwd=project.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def all_green(runs: list[subprocess.Popen[str]], passed: int = 4) -> None:
    try:
        for run in runs:
            output, _ = run.communicate(timeout=ENDS)
            assert run.returncode == 0, output
            assert f"{passed} passed" in output
    finally:
        for run in runs:
            run.kill()


@pytest.mark.parametrize("runs", [6, pytest.param(16, marks=pytest.mark.full)])
def test_many_runs_on_two_hosts_at_once(shop: Project, runs: int) -> None:
    """Cold: they migrate once. Warm: they take no lock, so no run waits."""
    hosts = [host(shop, "north"), host(shop, "south")]
    all_green([start(shop, hosts[n % 2]) for n in range(runs)])
    assert shop.migrations() == 1
    templates = shop.databases()
    assert len(templates) == 1
    assert "_tpl_" in templates[0]

    with ExitStack() as locks:  # a run that asks for one of them waits until it times out
        locks.enter_context(shop.server.locked(templates[0]))
        for environment in hosts:
            directory = Path(environment["XDG_CACHE_HOME"], "pytest-pgtemplate", "locks")
            directory.mkdir(parents=True, exist_ok=True)  # a host that came late needed no lock
            locks.enter_context(FileLock(directory / f"{templates[0]}.lock"))
        strictly = ("-W", "error", "-o", "pg_timeout=20")
        all_green([start(shop, hosts[n % 2], *strictly) for n in range(3)])
    assert shop.migrations() == 1
    assert shop.databases() == templates


def test_shards_of_a_suite_share_a_server(shop: Project) -> None:
    """Two jobs of a CI, at once and with the half of the tests each: they migrate once."""
    pytest.importorskip("pytest_split")
    jobs = [host(shop, name) for name in ("first", "second")]
    for job in jobs:
        job["PYTEST_ADDOPTS"] = job["PYTEST_ADDOPTS"].replace("-pno:pytest-split", "")
    all_green(
        [start(shop, job, "--splits=2", f"--group={n}") for n, job in enumerate(jobs, start=1)],
        passed=2,
    )

    assert shop.migrations() == 1
    [template] = shop.databases()
    assert "_tpl_" in template


ALONE = load_program("parallel/alone.py")


def test_no_worker_sees_another(shop: Project) -> None:
    shop.write("test_it.py", ALONE)
    shop.run_workers("-W", "error", workers=4).assert_outcomes(passed=60)
    assert shop.migrations() == 1
    assert len(shop.databases()) == 1


MEETING = load_program("parallel/meeting.py")


def test_workers_are_spread_over_several_servers(
    shop: Project, roomy_url: URL, private_url: URL
) -> None:
    shop.revision("two", RECORDS_ITS_PORT)
    shop.write("test_it.py", MEETING)
    (shop.root / "meeting").mkdir()
    urls = " ".join(str(_urls.render(url)) for url in (roomy_url, private_url))
    shop.run_workers("-W", "error", "--pg-url", urls, workers=4).assert_outcomes(passed=8)

    ports = [str(roomy_url.port), str(private_url.query["port"])]
    met = dict(path.name.split() for path in (shop.root / "meeting").iterdir())
    assert met == {f"gw{n}": ports[n % 2] for n in range(4)}
    assert Counter(shop.log.read_text().split()) == {"migrated": 2, ports[0]: 1, ports[1]: 1}
    other = Server(private_url, timeout=60)
    made = [base.name for base in other.databases() if base.name.startswith(shop.prefix)]
    there = [name for name in made if database_names.template_of(name) is None]
    here = shop.databases()
    assert [len(names) for names in (here, there)] == [1, 1]
    assert all("_tpl_" in name for name in here + there)
    for name in made:
        other.drop(name)
    other.close()


def test_a_server_that_is_down_is_named_and_the_others_take_its_workers(
    shop: Project, roomy_url: URL
) -> None:
    down = roomy_url.set(port=free_port())
    urls = " ".join(str(_urls.render(url)) for url in (roomy_url, down))
    result = shop.run_workers("--pg-url", urls)
    output = f"{result.stdout}{result.stderr}"
    assert result.ret == pytest.ExitCode.OK
    assert output.count(f"127.0.0.1:{down.port}") == 1
    for unwanted in ("HINT:", PASSWORD, "Traceback"):
        assert unwanted not in output
    assert len(shop.databases()) == 1


@pytest.fixture(params=["a file in its place", pytest.param("read-only", marks=pytest.mark.full)])
def closed_cache(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A cache directory in which no lock can be made."""
    cache = tmp_path / "closed"
    cache.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    if request.param != "read-only":
        (cache / "pytest-pgtemplate").touch()
        yield cache
    elif os.geteuid() != 0:
        cache.chmod(0o500)
        yield cache
        cache.chmod(0o700)
    else:
        mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(cache)]
        if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
            pytest.skip("nothing can be mounted here, and root may write everywhere else")
        yield cache
        subprocess.run(["umount", str(cache)], check=True)


def test_without_a_place_for_locks_the_servers_lock_will_do(
    shop: Project, closed_cache: Path
) -> None:
    place = str(closed_cache / "pytest-pgtemplate")
    result = shop.run_workers()
    result.assert_outcomes(passed=4, warnings=result.parseoutcomes()["warnings"])
    assert str(result.stdout).count(f"no file lock at {place}") == 1
    assert "PgTemplateWarning" in str(result.stdout)
    assert shop.migrations() == 1
    assert len(shop.databases()) == 1

    shop.run_workers("-W", "error").assert_outcomes(passed=4)  # no lock, and no word about it
    assert shop.migrations() == 1
