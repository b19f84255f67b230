"""PgBouncer in front of a server, as Debian brings it. Nothing here is a test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate._embedded import cluster as _embedded_cluster
from support.servers import free_port, server_directory

INI = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = trust
auth_file = {home}/users
pool_mode = {mode}
logfile =
pidfile =
"""
STARTING = 10.0  # seconds


@contextmanager
def pgbouncer(server: URL, mode: str) -> Iterator[URL]:
    """A pooler before the server at the socket of ``server``; yields its URL, with its own port."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no pgbouncer on this system")
    with server_directory() as directory:
        port = free_port()
        config = directory / "pgbouncer.ini"
        config.write_text(INI.format(**server.query, listen_port=port, home=directory, mode=mode))
        (directory / "users").write_text(f'"{server.username}" ""\n')
        directory.chmod(0o755)
        with running(program, config) as process:
            deadline = time.monotonic() + STARTING
            while not listens(port):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield server.set(host="127.0.0.1", port=port, query={})


@contextmanager
def running(program: str, config: Path) -> Iterator[subprocess.Popen[bytes]]:
    user = _embedded_cluster._server_user(os.geteuid())  # it refuses root, too
    how = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    process = subprocess.Popen([program, "-q", config], **how)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
