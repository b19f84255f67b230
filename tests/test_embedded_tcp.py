"""The private server on 127.0.0.1: for applications that read host, port, user and password."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from pytest_pgtemplate import _embedded
from pytest_pgtemplate._cli import main
from pytest_pgtemplate._embedded import server_handle, tcp
from pytest_pgtemplate.errors import EmbeddedServerError
from support.programs import load_program
from support.projects import Project, query


@pytest.fixture(scope="module")
def cache() -> Iterator[Path]:
    # Not tmp_path: root's is closed to the user who runs the server.
    directory = Path(tempfile.mkdtemp(prefix="pgt"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def in_this_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(server_handle, "_known_ports", {})  # as in a process of this test's own


@pytest.fixture
def url(in_this_cache: None) -> Iterator[URL]:  # noqa: ARG001
    """The server that listens, which runs meanwhile."""
    handle = _embedded.acquire(None, listen=True, timeout=60)
    yield make_url(handle.url)
    handle.close()
    _embedded.stop(None, listen=True)


def status() -> _embedded.Status:
    found = _embedded.status(None, listen=True)
    assert found
    return found


def in_another_process(what: str) -> str:
    code = f"from pytest_pgtemplate import _embedded; print({what})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


URL_OF = "_embedded.url_of(None, listen=True)"


def test_it_listens_at_the_predicted_url_and_on_its_socket(url: URL) -> None:
    assert make_url(in_another_process(URL_OF)) == url
    assert str(url.password) not in repr(status())
    assert (url.host, url.username, url.database) == ("127.0.0.1", "postgres", "postgres")
    row = query(url, "SELECT inet_server_addr(), inet_server_port()")[0]
    assert (str(row[0]), row[1]) == ("127.0.0.1", url.port)
    assert query(url, "SHOW listen_addresses")[0][0] == "127.0.0.1"
    sockets = query(url, "SHOW unix_socket_directories")[0][0]
    by_socket = URL.create("postgresql", "postgres", query={"host": sockets, "port": str(url.port)})
    assert query(by_socket, "SELECT inet_server_addr()")[0][0] is None


def test_tcp_requires_the_password(url: URL) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        query(url.set(password="guessed"), "SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url.set(drivername="postgresql", password="").render_as_string())
    rules = query(url, "SELECT type, auth_method FROM pg_hba_file_rules")
    assert {method for kind, method in rules if kind != "local"} == {"scram-sha-256"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.skipif(not shutil.which("psql"), reason="no psql on PATH")
def test_another_user_of_this_machine_does_not_get_in(url: URL) -> None:
    nobody = pwd.getpwnam("nobody")
    password = status().password
    assert password
    if password.stat().st_uid == nobody.pw_uid:
        pytest.skip("the user nobody runs the server here")
    sockets = query(url, "SHOW unix_socket_directories")[0][0]
    env = {"PATH": os.environ["PATH"], "PGPORT": str(url.port), "PGUSER": "postgres"}

    def succeeds(*command: str) -> bool:
        how = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}
        done = subprocess.run(command, env=env, capture_output=True, check=False, **how)  # type: ignore[call-overload]
        return bool(done.returncode == 0)

    assert succeeds("psql", "--version")
    assert not succeeds("cat", str(password))
    assert not succeeds("ls", sockets)
    for host in (sockets, "127.0.0.1"):
        assert not succeeds("psql", "-w", "-h", host, "-c", "SELECT 1", "postgres")


def test_without_pg_listen_the_server_has_no_port(url: URL) -> None:
    handle = _embedded.acquire(None, timeout=60)
    plain = make_url(handle.url)
    assert query(plain, "SHOW listen_addresses")[0][0] == ""
    assert query(plain, "SHOW data_directory") != query(url, "SHOW data_directory")
    handle.close()
    _embedded.stop(None)


@contextmanager
def stranger_at(port: int | None) -> Iterator[None]:
    """Another program listens at this port."""
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind((tcp.HOST, port))
        stranger.listen()
        yield


def test_the_port_stays_and_a_stranger_who_has_it_is_evaded() -> None:
    first = make_url(_embedded.url_of(None, listen=True))
    with stranger_at(first.port):
        second = make_url(in_another_process(URL_OF))
        assert second.port != first.port
        assert second.password == first.password
        with pytest.raises(EmbeddedServerError, match=str(first.port)):
            _embedded.acquire(
                None, listen=True, timeout=60
            )  # this process has already given out the port
    assert make_url(in_another_process(URL_OF)) == second


def test_a_stranger_who_is_faster_than_the_server_is_named(url: URL) -> None:
    handle = _embedded.acquire(None, listen=True, timeout=60)  # so the port is known to somebody
    _embedded.stop(None, listen=True)
    with stranger_at(url.port), pytest.raises(EmbeddedServerError, match="taken its port"):
        _embedded.acquire(None, listen=True, timeout=60)
    handle.close()


TESTS = load_program("embedded_tcp/tests.py")


def test_a_run_over_tcp_never_shows_its_password(
    project: Project,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("PGTEMPLATE_URL")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("APP_DSN", "")
    project.ini(pg_env="APP_DSN")  # what it is may be parsed by who knows no sockets
    project.alembic()
    project.revision("one")
    project.write("test_it.py", TESTS)

    result = project.run("--showlocals", "--pg-keep", "-vv")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*kept main: pgtemplate --listen psql *_main"])
    password = make_url(_embedded.url_of(None, listen=True)).password
    assert str(password) not in f"{result.stdout}{result.stderr}"
    capsys.readouterr()
    for command in (["doctor"], ["server", "status"], ["list"]):
        assert main.main(["--listen", *command]) == 0
    output = capsys.readouterr().out
    assert str(password) not in output
    assert output.count(f"password: in {status().password}") == 2
    assert f"127.0.0.1:{make_url(status().url).port}" in output
    _embedded.stop(None, listen=True)
