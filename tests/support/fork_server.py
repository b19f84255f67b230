"""The server of ``forked_python``: it has imported the libraries of child runs, and forks programs.

    python -P tests/support/fork_server.py SOCKET

It prints a line as soon as it can be used, and ends with its stdin. A client connects, sends a
``Command`` and the files for stdin, stdout and stderr, and receives the process id and then the
exit status as ``waitpid`` returns it. Nothing of the plugin and no pytest plugin is imported here.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from _pytest.config import default_plugins

IMPORTED = (
    *("alembic.command", "alembic.context", "alembic.autogenerate", "mako.template"),
    *("sqlalchemy.ext.asyncio", "sqlalchemy.orm", "sqlalchemy.dialects.postgresql"),
    *("asyncpg", "psycopg", "psycopg2", "pg8000", "greenlet"),
    *("execnet.gateway_base", "filelock", "platformdirs", "logging.config"),
)
MAX_MESSAGE = 200_000  # bytes: what a socket accepts as one message
FLAGS = {"-P": "safe_path", "-B": "no_bytecode", "-u": "unbuffered"}


@dataclass
class Command:
    """A Python program: ``kind`` is "-m", "-c" or "path"; ``rest`` are its arguments."""

    kind: str
    program: str
    rest: list[str]
    safe_path: bool = False
    no_bytecode: bool = False
    unbuffered: bool = False
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = ""
    group: int = 0  # the process group; 0: a new session

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Command | None:
        """Return what follows the interpreter; None if it has a flag that is not in ``FLAGS``."""
        given: dict[str, Any] = {}
        rest = list(arguments)
        while rest and rest[0] in FLAGS:
            given[FLAGS[rest.pop(0)]] = True
        if not rest:
            return None
        first = rest.pop(0)
        if first[:2] in ("-m", "-c"):
            program = first[2:] or rest.pop(0)
            return cls(first[:2], program, rest, **given)
        return None if first.startswith("-") else cls("path", first, rest, **given)


def serve(address: str) -> NoReturn:
    """Import the libraries, and fork a program for each connection."""
    from support import forked_python  # noqa: PLC0415 - it imports this module

    _import_libraries()
    forked_python.use_server(address, os.getpid())  # for the programs that the forks start
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(64)
    print("ready", flush=True)  # noqa: T201
    while True:
        readable, _, _ = select.select([listener, sys.stdin], [], [])
        _reap()
        if sys.stdin in readable:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _watch_program(connection)
        connection.close()


def _import_libraries() -> None:
    for name in (*IMPORTED, *(f"_pytest.{plugin}" for plugin in default_plugins)):
        with suppress(ImportError):
            import_module(name)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)  # the same in the programs


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _watch_program(connection: socket.socket) -> NoReturn:
    """Fork the program, wait for its end and send its exit status."""
    message, files, _, _ = socket.recv_fds(connection, MAX_MESSAGE, 3)
    pid = os.fork()
    if pid == 0:
        command = Command(**json.loads(message))
        _set_up_process(command, files, connection)
        _run(command)
    for file in files:
        os.close(file)
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):
        connection.send(str(status).encode())
    os._exit(0)


def _set_up_process(command: Command, files: list[int], connection: socket.socket) -> None:
    if command.group == 0:
        os.setsid()
    else:
        with suppress(PermissionError):  # the group has ended
            os.setpgid(0, command.group)
    connection.send(str(os.getpid()).encode())
    connection.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(command.cwd)
    os.environ.clear()
    os.environ.update(command.env)
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _run(command: Command) -> NoReturn:
    """Do what the interpreter does between its start and its end."""
    _set_up_interpreter(command)
    code = 1
    try:
        _run_program(command)
        code = 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            code = end.code or 0
        else:
            print(end.code, file=sys.stderr)  # noqa: T201
    except KeyboardInterrupt:
        traceback.print_exc()
        code = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 0xFF)


def _set_up_interpreter(command: Command) -> None:
    if command.unbuffered:
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    no_bytecode = os.environ.get("PYTHONDONTWRITEBYTECODE")
    sys.dont_write_bytecode = command.no_bytecode or bool(no_bytecode)
    first = {"-m": command.cwd, "-c": "", "path": str(Path(command.program).parent.resolve())}
    extra = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [] if command.safe_path else [first[command.kind]]
    sys.path[1:1] = [str(Path(path).absolute()) for path in extra if path]
    sys.argv = [command.program if command.kind == "path" else command.kind, *command.rest]


def _run_program(command: Command) -> None:
    if command.kind == "-m":
        runpy.run_module(command.program, run_name="__main__", alter_sys=True)
    elif command.kind == "-c":
        exec(command.program, {"__name__": "__main__"})
    else:
        runpy.run_path(command.program, run_name="__main__")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import_module("support.fork_server").serve(sys.argv[1])
