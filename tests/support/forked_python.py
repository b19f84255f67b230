"""Fork the Python programs of child runs from a process that has imported their libraries.

A child run of pytest, each of its xdist workers and each migration are programs of their own, which
spend most of their time on the start of Python and on importing pytest, SQLAlchemy, Alembic and the
drivers. In the short form of the suite, ``subprocess.Popen`` takes them from ``fork_server``. They
have a process id, files, signals, an environment and an exit status as usual.

The long form starts every interpreter. So does a command line with unusual flags, and a test that
requests the fixture ``new_interpreters``.

A pytest plugin, for Linux. ``multiprocessing.forkserver`` cannot do this: it starts functions.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from support import fork_server
from support.fork_server import Command

PASSED_ON = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")  # the server evaluates these

_original = subprocess.Popen
_address = ""  # of the server; empty: every program gets a new interpreter
_session = 0  # of the server: its forks cannot join another one
_environment = {**os.environ}  # with which it has started


def pytest_configure(config: pytest.Config) -> None:
    runs_tests = config.getoption("dist", "no") == "no"  # not the controller of xdist
    if sys.platform == "linux" and runs_tests and not config.getoption("--full"):
        config.pluginmanager.register(_Server(), "fork-server")


class _Server:
    """The server of this process. It starts while pytest collects."""

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="pgt-fork")
        self._socket = f"{self._directory}/socket"
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [sys.executable, "-P", fork_server.__file__, self._socket]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, env=env, **pipes)

    def pytest_collection_finish(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        use_server(self._socket, self._process.pid)

    def pytest_unconfigure(self) -> None:
        subprocess.Popen = _original  # type: ignore[misc]
        self._process.communicate()  # closes its stdin
        shutil.rmtree(self._directory)


def use_server(address: str, pid: int) -> None:
    """From now on, ``subprocess.Popen`` takes Python programs from this server."""
    global _address, _session
    _address, _session = address, os.getsid(pid)
    subprocess.Popen = Popen  # type: ignore[misc]


@pytest.fixture
def new_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test is about the start of Python: none of its programs is forked."""
    monkeypatch.setattr(sys.modules[__name__], "_address", "")


class Popen(_original[Any]):
    """``subprocess.Popen``, which asks the server for Python programs.

    The server, not this process, waits for their end. So this class replaces three methods that are
    not public (tested: CPython 3.11 to 3.14).
    """

    _connection: socket.socket | None = None

    def _execute_child(self, *arguments: Any) -> None:
        method = super()._execute_child  # type: ignore[misc]
        how = inspect.signature(method).bind(*arguments).arguments
        command = _forkable(how)
        if command is None:
            method(*arguments)
            return
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.connect(_address)
        files = enumerate((how["p2cread"], how["c2pwrite"], how["errwrite"]))
        inherited = [own if file == -1 else file for own, file in files]
        socket.send_fds(self._connection, [_encode(command)], inherited)
        self.pid = int(self._connection.recv(20))
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*map(how.get, pipes))  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._connection is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc,no-any-return]
        self._connection.setblocking(not wait_flags & os.WNOHANG)
        try:
            status = self._connection.recv(20)
        except BlockingIOError:
            return 0, 0
        self._connection.close()
        return self.pid, int(status or signal.SIGKILL)  # nothing: its watcher was killed

    def _internal_poll(self, *arguments: Any, **options: Any) -> int | None:
        if self._connection is None:
            return super()._internal_poll(*arguments, **options)  # type: ignore[misc,no-any-return]
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode


def _forkable(how: Mapping[str, Any]) -> Command | None:
    """Return the command if the server can start it; ``how``: arguments of ``_execute_child``."""
    unusual = ("executable", "preexec_fn", "pass_fds", "shell", "uid", "gid", "gids")
    if not _address or isinstance(how["args"], str | bytes) or any(map(how.get, unusual)):
        return None
    program, *arguments = map(os.fsdecode, how["args"])
    command = Command.parse(arguments) if program == sys.executable else None
    env = os.environ if how["env"] is None else how["env"]
    env = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    if command is None or _changes_the_start(env):
        return None
    if not how["start_new_session"]:
        if os.getsid(0) != _session:
            return None
        command.group = os.getpgid(0)
    command.env, command.cwd = env, str(Path(how["cwd"] or ".").absolute())
    return command if len(_encode(command)) < fork_server.MAX_MESSAGE else None


def _changes_the_start(env: Mapping[str, str]) -> bool:
    """Whether a variable for the start of Python, or for coverage, differs from the server's."""
    names = {name for name in {*env, *_environment} if name.startswith(("PYTHON", "COV"))}
    return any(env.get(name) != _environment.get(name) for name in names.difference(PASSED_ON))


def _encode(command: Command) -> bytes:
    return json.dumps(asdict(command)).encode()
