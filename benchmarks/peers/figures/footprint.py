"""Memory and disk, in MB: of the embedded server, of a worker, of a template and of a spare."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from processes import memory
from server import server_at

from peers.project import Project
from peers.results import Key, Results
from peers.sides import PGTEMPLATE, Side
from pytest_pgtemplate import _embedded
from pytest_pgtemplate._server import Server

NAME = "footprint"
SIDES = (PGTEMPLATE,)
NAMES = (
    SERVER_MEMORY := "embedded server, memory",
    SERVER_DISK := "embedded server, disk",
    WORKER_MEMORY := "each worker, memory of the server",
    WORKER_DISK := "each worker, disk",
    TEMPLATE_DISK := "template, disk",
    SPARE_DISK := "spare, disk",
)
TIMEOUT = 120.0  # seconds, until all workers have their databases
SIZES = "SELECT pg_database_size(datname) / 1024.0 / 1024.0 FROM pg_database WHERE datname LIKE $1"


@dataclass(frozen=True)
class Form:
    """How many workers there are at a time."""

    tables: int
    revisions: int
    workers: int


TINY = Form(tables=10, revisions=10, workers=2)
QUICK = Form(tables=100, revisions=100, workers=2)
FULL = Form(tables=100, revisions=100, workers=4)


def measure(
    form: Form, sides: tuple[Side, ...], turns: int, results: Results, directory: Path
) -> None:
    """On the embedded server of a user who has never had one."""
    for turn in range(turns):
        key = Key(NAME, f"{form.tables} tables, {form.workers} workers", PGTEMPLATE.name, turn)
        if PGTEMPLATE in sides:
            results.measure(key, partial(_measure, form, directory / f"turn_{turn}"))


def _measure(form: Form, root: Path) -> dict[str, float]:
    with _new_user_home(), server_at() as server:
        status = _embedded.status(None)
        assert status is not None
        assert status.pid is not None
        found = {SERVER_MEMORY: memory(status.pid), SERVER_DISK: _disk(status.data)}
        url = server.url.set(drivername="postgresql+psycopg")
        project = Project(root, PGTEMPLATE, url, status.pid, form.tables, form.revisions)
        project.run("test_dirty.py", 1, environment={"BENCH_DIRTY": "1", "BENCH_ROWS": "1"})
        idle = memory(status.pid)
        with _workers(project, form.workers):
            each = (memory(status.pid) - idle) / form.workers
            found[WORKER_MEMORY] = each
            found[WORKER_DISK] = _size(server, "%_gw%")
        found[TEMPLATE_DISK] = _size(server, "%_tpl_%")
        found[SPARE_DISK] = _size(server, "%_sp_%")
        return found


@contextmanager
def _new_user_home() -> Iterator[None]:
    """A machine on which there has never been an embedded server."""
    before = {name: os.environ.get(name) for name in ("HOME", "XDG_CACHE_HOME")}
    with tempfile.TemporaryDirectory(prefix="peers", dir="/tmp") as name:
        Path(name).chmod(0o755)
        os.environ |= dict.fromkeys(before, name)
        try:
            yield
        finally:
            _embedded.stop(None)
            os.environ |= {name: value for name, value in before.items() if value is not None}


@contextmanager
def _workers(project: Project, workers: int) -> Iterator[None]:
    """Meanwhile each of so many workers has written to its database, and waits."""
    address = str(project.root / "runner")
    environment = {"BENCH_RUNNER": address}
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as pool:
        listener.bind(address)
        listener.listen(workers)
        listener.settimeout(TIMEOUT)
        arguments = ("test_wait_for_runner.py", workers, f"-n{workers}")
        run = pool.submit(project.run, *arguments, environment=environment)
        waiting = [listener.accept()[0] for _ in range(workers)]
        yield
        for each in waiting:
            each.close()
        run.result()


def _size(server: Server, pattern: str) -> float:
    return max(float(row[0]) for row in server._fetch(SIZES, pattern))


def _disk(data: Path) -> float:
    blocks = sum(file.stat().st_blocks for file in data.rglob("*") if file.is_file())
    return blocks * 512 / 1024 / 1024
