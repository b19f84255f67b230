"""What a commit costs on a server with fsync on, with and without synchronous_commit = off.

    python benchmarks/fsync.py [--rounds 9] [--commits 50] [--wait 2]

A private server runs with a preloaded library that makes each fsync and fdatasync wait (ms), like
the disks of CI machines: the fsync of a fast disk hides what is measured. On one worker's database,
in turn: commits as the plugin leaves it, and with synchronous_commit = on. Prints the time of one
commit for each, as medians, and their ratio. Needs a C compiler, as cc.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from pytest_pgtemplate import _urls
from pytest_pgtemplate._reset import install
from pytest_pgtemplate._server import Mark, Server
from pytest_pgtemplate._template import Template
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import WorkerDatabase
from support.servers import PrivateServer, server_directory

PREFIX, RUN = f"benchmark_{os.getpid()}", "0" * 8
TIMEOUT = 60.0
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOW(name)                                             \
    int name(int fd)                                           \
    {                                                          \
        int (*real)(int) = dlsym(RTLD_NEXT, #name);            \
        usleep(1000 * atoi(getenv("FSYNC_WAIT")));             \
        return real(fd);                                       \
    }

SLOW(fsync)
SLOW(fdatasync)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--commits", type=int, default=50)
    parser.add_argument("--wait", type=int, default=2)
    arguments = parser.parse_args()
    if shutil.which("cc") is None:
        sys.exit("there is no C compiler: install one, as cc")
    with server_directory() as directory:
        private = PrivateServer(directory, fsync="on")
        with _slowed_down(directory, arguments.wait):
            private.start()
        try:
            _measure(private, arguments.rounds, arguments.commits)
        finally:
            private.stop()


@contextmanager
def _slowed_down(directory: Path, wait: int) -> Iterator[None]:
    """Let what is started here wait at each fsync."""
    source, library = directory / "fsync.c", directory / "fsync.so"
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    os.environ |= {"LD_PRELOAD": str(library), "FSYNC_WAIT": str(wait)}
    yield
    del os.environ["LD_PRELOAD"]


def _measure(private: PrivateServer, rounds: int, commits: int) -> None:
    server = Server(private.url, timeout=TIMEOUT)
    template = Template(database_names.template(PREFIX, "0" * 12), "", built=True)
    scratch = database_names.scratch(PREFIX, RUN)
    server.create(scratch, Mark("scratch", RUN))
    install(server.url.set(database=scratch), "auto", timeout=TIMEOUT)
    server.publish(scratch, template.name, Mark("template", RUN))
    worker = WorkerDatabase(server, template, database_names.worker(PREFIX, RUN, "main"), RUN)
    url = str(_urls.asyncpg_dsn(worker.database.url))
    times: dict[str, list[float]] = {"as it is": [], "on": []}
    for _ in range(rounds):
        for setting, measured in times.items():
            measured.append(asyncio.run(_commit(url, setting, commits)))
    print(f"{server}, {os.cpu_count()} CPUs")
    off, on = (1000 * statistics.median(each) for each in times.values())
    print(f"a commit takes {off:.2f} ms, with synchronous_commit = on {on:.2f} ms: {on / off:.1f}x")
    worker.close()
    server.close()


async def _commit(url: str, setting: str, commits: int) -> float:
    """Seconds for one of so many transactions that write."""
    connection = await asyncpg.connect(url)
    try:
        if setting == "on":
            await connection.execute("SET synchronous_commit = on")
        assert await connection.fetchval("SHOW synchronous_commit") in {"off", setting}
        await connection.execute("CREATE TABLE IF NOT EXISTS item (id int)")
        began = time.perf_counter()
        for number in range(commits):
            await connection.execute("INSERT INTO item VALUES ($1)", number)
        return (time.perf_counter() - began) / commits
    finally:
        await connection.close()


if __name__ == "__main__":
    main()
