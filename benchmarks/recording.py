"""What it costs to record a run: one suite of 500 tests, in turn with ``--pg-report`` and without.

    python benchmarks/recording.py [--rounds 7] [--tests 500]

Each test writes one row over ``pg_sync_session`` and does nothing else, the hardest case: all
but a millisecond or two is what the plugin and pytest do. Prints what a test takes as the median of
the rounds, and the difference, round by round. The first ten tests and the last are not counted.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

UNCOUNTED = 10
FILES = {
    "pytest.ini": "[pytest]\npg_name = benchmark_recording\n",
    "schema.sql": "CREATE TABLE item (id serial PRIMARY KEY, name text)",
    "conftest.py": f"""
import time
from pathlib import Path
import pytest
from pytest_pgtemplate import SqlFiles

MOMENTS = []

@pytest.fixture(scope="session")
def pg_migrations():
    return SqlFiles(Path(__file__).with_name("schema.sql"))

def pytest_runtest_logstart():
    MOMENTS.append(time.perf_counter())

def pytest_terminal_summary(terminalreporter):
    seconds = (MOMENTS[-1] - MOMENTS[{UNCOUNTED}]) / (len(MOMENTS) - 1 - {UNCOUNTED})
    terminalreporter.write_line(f"each test: {{1000 * seconds:.4f}} ms")
""",
    "test_it.py": """
import os
import pytest
from sqlalchemy import text

@pytest.mark.parametrize("n", range(int(os.environ["TESTS"])))
def test_it(n, pg_sync_session):
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('mine')"))
    pg_sync_session.commit()
""",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tests", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for file, text in FILES.items():
            (root / file).write_text(text)
        each_test(root, 20)  # the template is there from now on
        plain, recorded = [], []
        for _ in range(given.rounds):
            plain.append(each_test(root, given.tests))
            recorded.append(each_test(root, given.tests, "--pg-report=page.html"))
    more = statistics.median(b - a for a, b in zip(plain, recorded, strict=True))
    print(f"each test: {statistics.median(plain):.3f} ms, recorded {1000 * more:+.0f} us")


def each_test(root: Path, tests: int, *arguments: str) -> float:
    """What a test of such a run takes, in milliseconds."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    result = subprocess.run(
        ["env", f"TESTS={tests}", *command], cwd=root, capture_output=True, text=True, check=True
    )
    found = re.search(r"each test: ([\d.]+) ms", result.stdout)
    assert found, result.stdout
    return float(found[1])


if __name__ == "__main__":
    main()
