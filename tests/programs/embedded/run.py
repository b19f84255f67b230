import os
import sys
import time
from pathlib import Path

from pytest_pgtemplate import _embedded
from pytest_pgtemplate._embedded import processes


def spawn_detached(where, command, real=processes.spawn_detached, **options):
    real(where, command, **options)
    if command[0] == sys.executable:
        keepers.append([os.fsencode(str(word)) for word in command])


def process_of(command):
    """The process with exactly these arguments, as soon as the shell has started it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (directory / "cmdline").read_bytes().split(b"\0")[:-1]
            except OSError:
                continue
            if arguments == command:
                return int(directory.name)
    raise TimeoutError(command)


keepers, processes.spawn_detached = [], spawn_detached
handle = _embedded.acquire(Path(sys.argv[1]) if sys.argv[1] else None, timeout=60)
print(handle.url, *map(process_of, keepers), *[0][len(keepers) :], flush=True)
sys.stdin.read()
handle.close()
handle.close()
