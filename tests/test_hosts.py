"""xdist workers in another directory or on another host."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from support.projects import COUNTED, ITEM, TESTS, Project
from support.servers import free_port

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")

# The application reads its URL when it is imported, and conftest.py imports it at the top.
FILES = {
    "app.py": "import os\nURL = os.environ['APP_URL']\n",
    "conftest.py": "import app\n",
    "test_app.py": """
        import app
        import pytest

        @pytest.mark.parametrize("n", range(4))
        def test_the_url_was_there_in_time(n, pg_url):
            assert app.URL == pg_url
    """,
    "test_it.py": TESTS,
}


@pytest.fixture
def shop(project: Project) -> Project:
    project.ini(pg_env="APP_URL", pythonpath=".")
    project.alembic()
    # Not by its variable, which another host does not have.
    pluralize = COUNTED.replace('os.environ["MIGRATION_LOG"]', repr(str(project.log)))
    project.revision("one", ITEM + pluralize)
    for path, text in FILES.items():
        project.write(path, text)
    return project


def run(project: Project, *specs: str) -> pytest.RunResult:
    """Run pytest on these hosts; xdist copies the project to those that are not here."""
    tx = [argument for spec in specs for argument in ("--tx", spec)]
    copied = f"--rsyncdir={project.root}"
    command = project.command(f"--dist={'load' if specs[1:] else 'each'}", *tx, copied)
    return project.pytester.run(*command, project.root, timeout=120)


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another host, as far as that can be had: sshd on the loopback, with a HOME of its own."""
    if SSHD is None:
        pytest.skip("no sshd: apt install openssh-server")
    directory = tmp_path_factory.mktemp("host")
    for key in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / key)]
        subprocess.run(command, check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it, and systemd makes it
    port = free_port()
    server, client = directory / "sshd_config", directory / "ssh_config"
    server.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {directory}/user_key.pub\nStrictModes no\nPermitRootLogin yes\n"
        f"SetEnv HOME={directory}/home XDG_CACHE_HOME={directory}/home/.cache"
        f' "PYTEST_ADDOPTS={os.environ.get("PYTEST_ADDOPTS", "")}"\n'  # plugins that are off here
    )
    client.write_text(
        f"Host other\nHostName 127.0.0.1\nPort {port}\nUser {getpass.getuser()}\n"
        f"IdentityFile {directory}/user_key\nIdentitiesOnly yes\nStrictHostKeyChecking no\n"
        "UserKnownHostsFile /dev/null\nLogLevel ERROR\n"
    )
    (directory / "home").mkdir()
    log = directory / "log"
    process = subprocess.Popen([SSHD, "-D", "-f", server, "-E", log])
    try:
        _wait_until_it_listens(port, process)
        yield f"ssh=other//ssh_config={client}//python={sys.executable}//chdir={directory}/home/run"
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    pytest.skip("sshd does not start here")


def test_a_worker_on_another_host_receives_the_url(shop: Project, host: str) -> None:
    """Which is in the environment of the controller alone."""
    result = run(shop, "popen", host)

    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["*; 2 databases, *"])
    assert shop.migrations() == 1


@pytest.mark.full
def test_a_worker_on_another_host_never_takes_a_server_of_its_own(
    shop: Project, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGTEMPLATE_URL")
    result = run(shop, host)

    result.assert_outcomes(passed=1, errors=1, skipped=6)
    result.stdout.fnmatch_lines(["*worker gw0 runs on *", "*HINT: *PGTEMPLATE_URL*"])


@pytest.mark.full
def test_a_worker_on_another_host_receives_the_url_of_each_database(
    shop: Project, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is nowhere, for the main one."""
    monkeypatch.setenv("PGTEMPLATE_URL_ORDERS", os.environ["PGTEMPLATE_URL"])
    monkeypatch.setenv("PGTEMPLATE_URL", "")
    shop.ini(pg_databases="orders", pg_env="APP_URL", pythonpath=".")
    shop.write("test_app.py", "def test_main(pg): pass\ndef test_orders(pg_orders_server): pass\n")
    shop.write("test_it.py", "")
    result = run(shop, host)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*worker gw0 runs on *", "*HINT: *PGTEMPLATE_URL*"])


def test_a_worker_in_another_directory(shop: Project) -> None:
    result = run(shop, f"popen//chdir={shop.root.parent / 'elsewhere'}", "popen//id=name")

    result.assert_outcomes(passed=8)
    assert shop.migrations() == 1
    assert all("_tpl_" in name for name in shop.databases())


def test_a_server_that_does_not_answer_is_left_out(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("PGTEMPLATE_URL", f"postgresql://{dead} {os.environ['PGTEMPLATE_URL']}")

    result = shop.run_workers()

    result.assert_outcomes(passed=8)
    lines = [line for line in result.outlines if dead in line]
    assert lines == [f"  the server at {dead} does not answer; its workers used another server"]


def test_if_no_server_answers_it_is_reported_once(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"postgresql://127.0.0.1:{free_port()}" for _ in range(2)]
    monkeypatch.setenv("PGTEMPLATE_URL", " ".join(urls))

    result = shop.run()

    result.assert_outcomes(passed=1, errors=1, skipped=6)
