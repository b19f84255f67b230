"""The first test of a cold run, if the collection takes as long as the migrations.

    python benchmarks/collection.py [--revisions 300] [--collection 5] [--rounds 5] [--waits]

The tests are in two modules. The second one uses the CPU for so many seconds when it is imported;
with ``--waits`` it waits, and leaves the CPU to the build.
Three runs with ``-n 2`` in turn, each until its first test begins, on the embedded server or on
PGTEMPLATE_URL: with a template from an earlier run (the collection alone), without the second
module (the build alone), and the cold run of both. Prints medians, and the ratio of the cold run to
the longer of the other two (at most 1.15). If two collections and the build need more CPU time than
there is meanwhile, the ratio cannot be below that: about the least is printed, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from lineage import write_environment, write_revision
from runs import run_pytest
from server import drop_all, server_at

PREFIX = f"benchmark_{os.getpid()}"
WORKERS = 2
UPGRADE = """op.create_table(
        "table_{number}",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
    )
    op.create_index("table_{number}_name", "table_{number}", ["name"])"""
TEST = """
import os, time
from pathlib import Path

def test_it(pg):
    Path(os.environ["STARTED"], f"{os.getpid()}").write_text(str(time.time()))
"""
USES_CPU = "while time.process_time() < {seconds}: pass"
WAITS = "time.sleep({seconds})"
SLOW = """
import time

{collect}

def test_other(pg): ...
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--revisions", type=int, default=300)
    parser.add_argument("--collection", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--waits", dest="collect", action="store_const", const=WAITS, default=USES_CPU
    )
    arguments = parser.parse_args()
    with server_at() as server, tempfile.TemporaryDirectory() as name:
        print(f"{server}, {os.cpu_count()} CPUs")
        root = Path(name)
        slow = arguments.collect.format(seconds=arguments.collection)
        _write_project(root, arguments.revisions, slow)
        rounds = []
        try:
            for _ in range(arguments.rounds):
                cold = _until_first_test(root, "--pg-rebuild")
                collection = _until_first_test(root)
                build = _until_first_test(root, "--pg-rebuild", "--ignore=test_slow.py")
                rounds.append((collection, build, cold))
                print("collection {:.2f} s, build {:.2f} s, both {:.2f} s".format(*rounds[-1]))
        finally:
            drop_all(server, PREFIX)
    collection, build, _ = medians = [*map(statistics.median, zip(*rounds, strict=True))]
    ratio = statistics.median(cold / max(others) for *others, cold in rounds)
    print("medians: collection {:.2f} s, build {:.2f} s, both {:.2f} s".format(*medians))
    print(f"ratio to the longer one: {ratio:.2f} (at most 1.15)")
    if arguments.collect is USES_CPU:
        seconds = (WORKERS * arguments.collection + build) / (os.cpu_count() or 1)
        print(f"about the least on so many CPUs: {max(seconds / max(collection, build), 1):.2f}")


def _write_project(root: Path, revisions: int, collect: str) -> None:
    write_environment(root)
    (root / "pytest.ini").write_text(f"[pytest]\npg_name = {PREFIX}\n")
    (root / "test_it.py").write_text(TEST)
    (root / "test_slow.py").write_text(SLOW.format(collect=collect))
    for number in range(1, revisions + 1):
        write_revision(root, number, UPGRADE.format(number=number))


def _until_first_test(root: Path, *options: str) -> float:
    """Seconds from the start of pytest to that of ``test_it``, which xdist runs first."""
    with tempfile.TemporaryDirectory() as started:
        run = run_pytest(
            root,
            *("-n", str(WORKERS), *options),
            plugins=("xdist", "pgtemplate"),
            passed=1 if "--ignore=test_slow.py" in options else 2,
            environment={"STARTED": started},
        )
        [file] = Path(started).iterdir()
        return float(file.read_text()) - run.began


if __name__ == "__main__":
    main()
