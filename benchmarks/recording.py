"""What it costs to record a run: one run with ``--pg-report``, recorded by turns of 20 tests.

    python benchmarks/recording.py [--tests 10000]

Each test writes one row over ``pg_sync_session`` and does nothing else, the hardest case: all
but a millisecond or two is what the plugin and pytest do. Both sides are tests of one process, for
two processes differ by more than what is looked for. Prints what a test takes, and the difference
of each turn to the one before it: the median of both, and the quartiles of the second.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FILES = {
    "pytest.ini": "[pytest]\npg_name = benchmark_recording\n",
    "schema.sql": "CREATE TABLE item (id serial PRIMARY KEY, name text)",
    "conftest.py": """
import itertools
import statistics
import time
from pathlib import Path
import pytest
from pytest_pgtemplate import SqlFiles
from pytest_pgtemplate._run import RUN

BLOCK = 20  # tests; the first of each is not counted
BLOCKS = []  # of each, seconds that its tests took
NUMBERS = itertools.count()
last = None

@pytest.fixture(scope="session")
def pg_migrations():
    return SqlFiles(Path(__file__).with_name("schema.sql"))

def pytest_collection_modifyitems(config, items):
    config.recorder = config.pluginmanager.get_plugin("pgtemplate-recorder")

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    global last
    now = time.perf_counter()
    number = next(NUMBERS) % BLOCK
    if number > 1:
        BLOCKS[-1].append(now - last)
    elif number == 0:
        BLOCKS.append([])
        switch(item.config)
    last = time.perf_counter()

def switch(config):
    manager, run = config.pluginmanager, config.stash[RUN]
    if manager.is_registered(config.recorder):
        manager.unregister(config.recorder)
        run.timeline, config.timeline = None, run.timeline
    else:
        manager.register(config.recorder, "pgtemplate-recorder")
        run.timeline = config.timeline

def pytest_terminal_summary(terminalreporter):
    medians = [1e6 * statistics.median(block) for block in BLOCKS[2:-1]]
    plain, recorded = medians[0::2], medians[1::2]
    more = [after - before for before, after in zip(plain, recorded)]
    low, median, high = statistics.quantiles(more, n=4)
    test = statistics.median(plain)
    terminalreporter.write_line(
        f"each test: {test:.0f} us, recorded {median:+.0f} ({low:+.0f} .. {high:+.0f}),"
        f" {100 * median / test:.1f} %"
    )
""",
    "test_it.py": """
import os
import pytest
from sqlalchemy import text

@pytest.mark.parametrize("number", range(int(os.environ["TESTS"])))
def test_it(number, pg_sync_session):
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('mine')"))
    pg_sync_session.commit()
""",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tests", type=int, default=10000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for file, text in FILES.items():
            (Path(name) / file).write_text(text)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        result = subprocess.run(
            [*command, "-p", "no:randomly", "--pg-report=page.html"],
            cwd=name,
            env={**os.environ, "TESTS": str(given.tests)},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in result.stdout.splitlines() if line.startswith("each test: ")]
        assert lines, result.stdout + result.stderr
        print(lines[0])


if __name__ == "__main__":
    main()
