"""Count the uses of files in a directory, in every process of a run, and let one use fail.

A use is counted once in each process: to wait for a lock is to try again and again.
"""

import errno
import os
import sys

ERRORS = {"unreadable": errno.EACCES, "broken": errno.EIO}
EVENTS = {"fcntl.flock", "open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.scandir"}

under = os.environ["FAULTS_UNDER"]
kind, number = os.environ["FAULTS_FILE"].rsplit(" ", 1)
counted: set[tuple[str, str]] = set()
counting = False


def is_new(event: str, path: str) -> bool:
    is_known = (event, path) in counted
    counted.add((event, path))
    return path.startswith(under) and not is_known


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
        if isinstance(path, str | os.PathLike) and is_new(event, file := os.fspath(path)):
            if count(event, file) == int(number):
                raise OSError(ERRORS[kind], os.strerror(ERRORS[kind]), file)
    finally:
        counting = False


sys.addaudithook(let_one_fail)
