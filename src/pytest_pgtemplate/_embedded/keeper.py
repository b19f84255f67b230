"""Stops the private server when its last user has gone, and how to see and stop that server.

Three locks in the kernel say who is there; each is free at the instant its last holder ends,
however it ended:

    users.lock          shared, by every run that uses the server
    keeper.lock         by the keeper: this module, run as a program of its own
    data/server.lock    by the server itself: inherited by every process that it is made of

The keeper waits for ``users.lock`` alone. It handles no signals: in a session of its own no Ctrl-C
reaches it, and when it is killed the next run starts another. It is run by path, for the standard
library only, and without pathlib, so that it starts fast and stays small.
"""
# ruff: noqa: PTH110, PTH116, PTH123

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time

if sys.platform != "win32":  # there the import is harmless and ``acquire`` says what to do
    import fcntl


StrPath = str | os.PathLike[str]


def open_lock(path: StrPath, *, create: bool = True) -> int:
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0), 0o600)


def try_lock(path: StrPath, *, shared: bool = False, create: bool = True) -> int | None:
    """A descriptor that holds the lock until it is closed; None when others stand in the way."""
    lock = open_lock(path, create=create)
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return lock


def alive(data: StrPath) -> bool:
    """Whether any process is left of the server of this data directory.

    To look leaves no trace: somebody may be about to delete the directory.
    """
    try:
        lock = try_lock(f"{data}/server.lock", create=False)
    except FileNotFoundError:
        return False
    if lock is not None:
        os.close(lock)
    return lock is None


def listening(socket_path: StrPath) -> bool:
    """Whether a postmaster lives there."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        try:
            connection.connect(os.fspath(socket_path))
        except BlockingIOError:
            return True  # it does, with more callers waiting than fit into its queue
        except OSError:
            return False
    return True


def postmaster(data: StrPath) -> tuple[int, str]:
    """Process id and state ("starting", "ready", "stopping") as the server wrote them; or 0, ""."""
    try:
        with open(f"{data}/postmaster.pid") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return 0, ""
    return (int(lines[0]), lines[7].strip()) if len(lines) > 7 else (0, "")


def stop_server(data: StrPath, socket_path: StrPath) -> bool:
    """Stop the server, even one just starting, and see it gone; False when there was none."""
    if not alive(data):
        return False
    for signum, seconds in ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0)):  # fast, then immediate
        deadline = time.monotonic() + seconds
        sent = False
        while alive(data) and time.monotonic() < deadline:
            pid, _ = postmaster(data)
            # Only a postmaster that answers is sure to be the process with that number.
            if pid and not sent and listening(socket_path):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)
                sent = True
            time.sleep(0.005)
    return True


def keep(lock: int, directory: str, socket_path: str) -> None:
    """Hold ``keeper.lock`` until nobody holds ``users.lock``; then stop the server."""
    path = f"{directory}/users.lock"
    users = open_lock(path)
    fcntl.flock(users, fcntl.LOCK_EX)
    # Somebody may have deleted the cache meanwhile, and others have made a new one in its place.
    if os.path.exists(path) and os.path.samestat(os.fstat(users), os.stat(path)):
        stop_server(f"{directory}/data", socket_path)
    # In this order, for whoever gets a share of users.lock must not take a keeper that is leaving
    # for one that stays.
    os.close(lock)
    os.close(users)


if __name__ == "__main__":
    keep(int(sys.argv[1]), sys.argv[2], sys.argv[3])
