"""The keeper: a small program that stops the embedded server after its last user has ended.

Three file locks (flock) show which processes exist. The kernel releases a lock as soon as its last
holder ends, also after a kill -9:

    users.lock          shared, held by every run that uses the server
    keeper.lock         held by the keeper: this module, run as a program
    data/server.lock    held by the server: every process of the server inherits it

The keeper waits for an exclusive ``users.lock``. It handles no signals: Ctrl-C does not reach its
session, and if it is killed, the next run starts another. It is started by path and imports only
the standard library, without pathlib, so that it starts fast and needs little memory.
"""
# ruff: noqa: PTH110, PTH116, PTH123

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time

if sys.platform != "win32":  # on Windows, ``locate`` raises EmbeddedServerError
    import fcntl

StrPath = str | os.PathLike[str]


def open_lock(path: StrPath, *, create: bool = True) -> int:
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0), 0o600)


def try_lock(path: StrPath, *, shared: bool = False, create: bool = True) -> int | None:
    """Return a descriptor that holds the lock until closed, or None if another process has it."""
    lock = open_lock(path, create=create)
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return lock


def is_alive(data: StrPath) -> bool:
    """Whether any process of the server of this data directory is alive."""
    try:
        # Without create: another process may be deleting the directory.
        lock = try_lock(f"{data}/server.lock", create=False)
    except FileNotFoundError:
        return False
    if lock is not None:
        os.close(lock)
    return lock is None


def is_listening(socket_path: StrPath) -> bool:
    """Whether a postmaster listens at this socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        try:
            connection.connect(os.fspath(socket_path))
        except BlockingIOError:
            return True  # it listens, and its backlog is full
        except OSError:
            return False
    return True


def postmaster(data: StrPath) -> tuple[int, str]:
    """Return pid and state ("starting", "ready", "stopping") in postmaster.pid, or (0, "")."""
    try:
        with open(f"{data}/postmaster.pid") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return 0, ""
    return (int(lines[0]), lines[7].strip()) if len(lines) > 7 else (0, "")


def stop_server(data: StrPath, socket_path: StrPath) -> bool:
    """Stop the server, even while it starts, and wait until it has ended. False: none was alive."""
    if not is_alive(data):
        return False
    for signum, seconds in ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0)):  # fast, then immediate
        deadline = time.monotonic() + seconds
        sent = False
        while is_alive(data) and time.monotonic() < deadline:
            pid, _ = postmaster(data)
            # The file may be stale, and the pid may belong to another process by now. A server
            # that listens at the socket has written the file.
            if pid and not sent and is_listening(socket_path):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)
                sent = True
            time.sleep(0.005)
    return True


def keep(lock: int, directory: str, socket_path: str) -> None:
    """Hold ``keeper.lock`` until no process holds ``users.lock``; then stop the server."""
    path = f"{directory}/users.lock"
    users = open_lock(path)
    fcntl.flock(users, fcntl.LOCK_EX)
    # If the cache was deleted, a new server may run in a new directory at the same path.
    if os.path.exists(path) and os.path.samestat(os.fstat(users), os.stat(path)):
        stop_server(f"{directory}/data", socket_path)
    # keeper.lock first: a run that then gets users.lock must see that it has to start a keeper.
    os.close(lock)
    os.close(users)


if __name__ == "__main__":
    keep(int(sys.argv[1]), sys.argv[2], sys.argv[3])
