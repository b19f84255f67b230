"""What workers pay that start together: clones at once, and the time until the last one is ready.

    python benchmarks/parallel.py [--workers 8] [--rounds 5]

The migrations are those of the sample application. Both sides of each ratio are measured in one go,
on the embedded server or on PGTEMPLATE_URL:

    clones at once   n clones at the same moment, over n times one clone alone (at most 1)
    last ready       n processes that ask for a template that does not exist yet: from the start of
                     the first until the last has its clone, over the migration plus n clones
                     at once (at most 1.25)
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier

from server import drop_all, server_at

from pytest_pgtemplate import Alembic, _template, _urls
from pytest_pgtemplate._reset import install
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server.marks import Mark
from pytest_pgtemplate._template import ScratchDatabase, Target, Template, TemplateRequest
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import WorkerDatabase, WorkerOptions

TIMEOUT = 120.0  # seconds for any one step
PREFIX = f"bench_{os.getpid()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        url, prefix, run, name = arguments.worker
        _work(url, prefix, run, name)
        return
    with server_at() as server, TemporaryDirectory() as locks:
        os.environ["BENCHMARK_LOCKS"] = locks
        print(f"{server}, {os.cpu_count()} CPUs")
        try:
            rounds = [_round(server, arguments.workers) for _ in range(arguments.rounds)]
        finally:  # not before: ext4 makes files slowly for some time after many were removed
            drop_all(server, PREFIX)
    for name, limit in (("clones at once", 1.0), ("last ready", 1.25)):
        ratios = [each[name] for each in rounds]
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{name}: {statistics.median(ratios):.2f} (of {shown}; at most {limit})")


def _round(server: Server, workers: int) -> dict[str, float]:
    """Measure everything once, on templates that are new to the server."""
    prefix = f"{PREFIX}_{uuid.uuid4().hex[:8]}"
    began = time.perf_counter()
    template = _ensure(server, prefix, "0" * 8)
    migration = time.perf_counter() - began
    # In this order: the first to clone waits until what was migrated is on disk.
    together = _clones(server, template, [f"all{n}" for n in range(workers)])
    single = statistics.median(_clones(server, template, [f"one{n}"]) for n in range(3))
    ready = _ready(str(_urls.render(server.url)), f"{prefix}_ready", workers)
    print(
        f"migration {migration:.2f} s, one clone {single * 1000:.0f} ms, {workers} clones at once"
        f" {together * 1000:.0f} ms, last of {workers} ready after {ready:.2f} s"
    )
    return {
        "clones at once": together / (workers * single),
        "last ready": ready / (migration + together),
    }


def _ensure(server: Server, prefix: str, run: str) -> Template:
    migrations = Alembic(Path(__file__).parents[1] / "alembic.ini", "heads")

    def build(scratch: ScratchDatabase) -> str | None:
        url = server.url.set(database=scratch.name)
        migrations.migrate(Target(url, TIMEOUT))
        return install(url, "auto", timeout=TIMEOUT)

    fingerprint = _template.compute_fingerprint(
        [prefix.encode(), *migrations.fingerprint()], server
    )
    order = TemplateRequest(prefix, run, fingerprint, rebuild=False)
    return _template.ensure_template(order, build, server, Path(os.environ["BENCHMARK_LOCKS"]))


def _clones(server: Server, template: Template, names: list[str]) -> float:
    """Clone once for each name, all at the same moment, and return how long that takes."""
    prefix = template.name.partition("_tpl_")[0]
    with ExitStack() as stack:
        servers = [Server(server.url, timeout=TIMEOUT) for _ in names]
        for each in servers:
            stack.callback(each.close)

        def clone(each: Server, name: str) -> None:
            mark = Mark("worker", "0" * 8, template.fingerprint)
            each.clone(template.name, f"{prefix}_{name}", mark)

        pairs = zip(servers, names, strict=True)
        return _at_once([partial(clone, each, name) for each, name in pairs])


def _at_once(calls: list[Callable[[], object]]) -> float:
    barrier = Barrier(len(calls) + 1)

    def run(call: Callable[[], object]) -> None:
        barrier.wait(TIMEOUT)
        call()

    with ThreadPoolExecutor(len(calls)) as pool:
        running = [pool.submit(run, call) for call in calls]
        barrier.wait(TIMEOUT)
        began = time.perf_counter()
        for each in running:
            each.result(TIMEOUT)
        return time.perf_counter() - began


def _ready(url: str, prefix: str, workers: int) -> float:
    """Let processes ask for template and clone; from the first's begin to the last's end."""
    run = uuid.uuid4().hex[:8]
    command = [sys.executable, __file__, "--worker", url, prefix, run]
    processes = [
        subprocess.Popen(
            [*command, f"gw{n}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for n in range(workers)
    ]
    try:
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "imported\n"
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        times = []
        for process in processes:
            assert process.stdout
            times.append(process.stdout.readline().split())
        for process in processes:
            process.communicate("end\n", timeout=TIMEOUT)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return max(float(end) for _, end in times) - min(float(begin) for begin, _ in times)


def _work(url: str, prefix: str, run: str, name: str) -> None:
    """One worker: as its fixtures would do it, once everything is imported."""
    server = Server(_urls.parse(url), timeout=TIMEOUT)
    print("imported", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    template = _ensure(server, prefix, run)
    worker = WorkerDatabase(
        server, template, database_names.worker(prefix, run, name), run, WorkerOptions(keep=True)
    )
    print(began, time.monotonic(), flush=True)
    sys.stdin.readline()
    worker.close()
    server.close()


if __name__ == "__main__":
    main()
