"""A private PostgreSQL server for what no other server may be used for: it asks for passwords over
TCP, and it has few connections.

A pytest plugin, for the fixtures at the end. Nothing here is a test.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _embedded
from pytest_pgtemplate._embedded import binaries as _binaries
from pytest_pgtemplate._embedded import cluster as _embedded_cluster
from pytest_pgtemplate._server import Server
from pytest_pgtemplate.errors import EmbeddedServerError
from support.projects import ITEM, Project, make_project, query

CONNECTIONS = 30
# The socket needs no password, TCP does.
HBA = """
local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""
STARTING = 30.0  # seconds
# The newest PostgreSQL that is installed on this system.
SYSTEM = max(Path("/usr/lib/postgresql").glob("*/bin"), key=_binaries._numbers, default=None)

_PREPARED: dict[Path, Path] = {}  # data directories, by the programs that made them


class PrivateServer:
    """A server that its user starts and stops. ``url`` is through the socket, as superuser.

    Its programs are in ``bindir``, or are those that the embedded server would use.
    """

    def __init__(self, directory: Path, bindir: Path | None = None, **options: object) -> None:
        self._directory = directory
        self._data = directory / "data"
        binaries = _binaries.find_binaries(bindir)
        user = _embedded_cluster._server_user(os.geteuid())
        self._how: dict[str, Any] = {"stdout": subprocess.DEVNULL, "cwd": directory}
        self._how["stderr"] = subprocess.STDOUT
        self._programs = binaries.bindir
        if user is not None:
            os.chown(directory, user.pw_uid, user.pw_gid)
            directory.chmod(0o755)
            self._how |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            self._programs = _binaries.executable_bindir(binaries, user, directory / "programs")
        self._copy_prepared_data(binaries.bindir)
        self._options: dict[str, object] = {
            "port": free_port(),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": directory,
            "password_encryption": "scram-sha-256",
            "max_connections": CONNECTIONS,
            "superuser_reserved_connections": 0,
            "fsync": "off",
            **options,
        }
        where = {"host": str(directory), "port": str(self._options["port"])}
        self.url = URL.create("postgresql", "postgres", database="postgres", query=where)

    def _copy_prepared_data(self, bindir: Path) -> None:
        """A copy of the data directory that this process has made with these programs."""
        prepared = _PREPARED.get(bindir)
        if prepared is None:
            prepared = _PREPARED[bindir] = Path(tempfile.mkdtemp(prefix="pgt"), "data")
            atexit.register(shutil.rmtree, prepared.parent, ignore_errors=True)
            if "user" in self._how:
                os.chown(prepared.parent, self._how["user"], self._how["group"])
            initdb = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
            command: list[Any] = [self._programs / "initdb", *initdb, "-D", prepared]
            subprocess.run(command, check=True, **self._how)
            (prepared / "pg_hba.conf").write_text(HBA)
        subprocess.run(["cp", "-a", prepared, self._data], check=True, **self._how)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        settings = [f"--{name}={value}" for name, value in self._options.items()]
        command: list[Any] = [self._programs / "postgres", "-D", self._data, *settings]
        self._process: subprocess.Popen[bytes] = subprocess.Popen(command, **self._how)
        _wait_until_ready(self._data / "postmaster.pid", self._process)

    @property
    def pid(self) -> int:
        return self._process.pid

    def crash(self) -> None:
        """Stop it without a checkpoint: when it starts again, it has to recover."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(60)

    def stop(self) -> None:
        """Stop it and end its connections (a fast shutdown)."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)


@contextmanager
def private_server(bindir: Path | None = None, **options: object) -> Iterator[URL]:
    """Run a server with these options and yield its URL."""
    with server_directory() as directory:
        server = PrivateServer(directory, bindir, **options)
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


@contextmanager
def server_directory() -> Iterator[Path]:
    """A directory for a server: not tmp_path, as root's is closed to the user who runs it."""
    directory = Path(tempfile.mkdtemp(prefix="pgt"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def need_binaries() -> None:
    """Skip the test where no server can be started."""
    try:
        _binaries.find_binaries(None)
    except EmbeddedServerError:
        pytest.skip("no PostgreSQL binaries to start a server with")


def system_bindir() -> Path:
    """Where the system's PostgreSQL is; skip the test where it has none."""
    if SYSTEM is None:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql")
    return SYSTEM


def tcp(url: URL, **changes: Any) -> URL:
    """The same server by TCP, where it wants a password."""
    port = int(str(url.query["port"]))
    return url.set(host="127.0.0.1", port=port, query={}).set(**changes)


def free_port() -> int:
    """A TCP port without a listener."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def connections(url: URL) -> int:
    """How many connections the server has, without the one that asks."""
    rows = query(
        url,
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    )
    count: int = rows[0][0]
    return count


def _wait_until_ready(pid_file: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTING
    while not (pid_file.exists() and "ready" in pid_file.read_text()):
        assert process.poll() is None, "the server has ended"
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def private_url() -> Iterator[URL]:
    """A private server, through its socket, as superuser."""
    need_binaries()
    with private_server() as url:
        yield url


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server with this test's databases only: a sweep finds those of every test."""
    need_binaries()
    with private_server() as url:
        server = Server(url, timeout=60)
        yield server
        server.close()


@pytest.fixture(scope="session")
def system_url() -> Iterator[URL]:
    """A private server with the system's PostgreSQL."""
    # Autovacuum runs as often as it can, which must not disturb a test.
    options = {"max_prepared_transactions": 20, "autovacuum_naptime": "1s"}
    with private_server(system_bindir(), **options) as url:
        yield url


@pytest.fixture
def new_user_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home directory of a user who has never started an embedded server."""
    need_binaries()
    with server_directory() as directory:
        directory.chmod(0o755)
        monkeypatch.setenv("HOME", str(directory))
        monkeypatch.setenv("XDG_CACHE_HOME", str(directory / ".cache"))
        monkeypatch.delenv("PGTEMPLATE_URL", raising=False)
        yield directory
        _embedded.stop(None)


@pytest.fixture
def system_project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, system_url: URL
) -> Iterator[Project]:
    """A project with a table, on that server. Each run gets the URL of the server."""
    server = Server(system_url, timeout=60)
    for project in make_project(pytester, monkeypatch, server, system_url):
        project.alembic()
        project.revision("one", ITEM)
        yield project
    server.close()
