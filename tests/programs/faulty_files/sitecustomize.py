"""Count the uses of files in two directories, in every process of a run, and let one use fail."""

import errno
import os
import sys

ERRORS = {"unreadable": errno.EACCES, "broken": errno.EIO}
EVENTS = {"fcntl.flock", "open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.scandir"}

under = tuple(os.environ["FAULTS_UNDER"].split(os.pathsep))
kind, number = os.environ["FAULTS_FILE"].rsplit(" ", 1)
counting = False


def count(event: str, path: str) -> int:
    """Each use is a line in one file, whose length no other process changes meanwhile."""
    with open(os.environ["FAULTS_USES"], "a+") as uses:
        uses.write(f"{os.getpid()} {event} {path}\n")
        uses.flush()
        end = uses.tell()
        uses.seek(0)
        return uses.read(end).count("\n")


def let_one_fail(event: str, arguments: tuple[object, ...]) -> None:
    global counting
    if counting or event not in EVENTS:
        return
    counting = True  # what follows uses files
    try:
        path = arguments[0]
        if isinstance(path, int) and event == "fcntl.flock":
            path = os.readlink(f"/proc/self/fd/{path}")
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(under):
            if count(event, os.fspath(path)) == int(number):
                raise OSError(ERRORS[kind], os.strerror(ERRORS[kind]), os.fspath(path))
    finally:
        counting = False


sys.addaudithook(let_one_fail)
