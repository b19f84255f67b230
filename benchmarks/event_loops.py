"""What one event loop for all tests saves: the async examples, in turn with both settings.

    python benchmarks/event_loops.py [--rounds 15] [--times 30]

Each test of an example runs many times, on one process and the embedded server or PGTEMPLATE_URL.
The two sides differ in pytest-asyncio's default loop scopes only:

    function    each test has an event loop of its own, and opens its connections
    session     one event loop for all tests, which keeps the connections open

Prints what a test takes on each side, and the ratio round by round: medians and quartiles. The
first ten tests and the last one are not counted. An async fixture that is wider than ``function``
needs a loop that is as wide, so asyncpg-plain, job-worker and catalog/test_shared.py have no other
side.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from repeated import copy_example, each_test, spread
from server import server_at

NAMES = ("catalog", "fastapi-parts", "litestar-advanced-alchemy")
SCOPES = ("function", "session")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--times", type=int, default=30, help="how often each test runs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, server_at():
        for name in NAMES:
            project = copy_example(name, Path(directory), arguments.times)
            found = [
                {scope: measure(project, scope) for scope in SCOPES}
                for _ in range(arguments.rounds)
            ]
            print(f"{name}: ms a test, and ratio")
            for scope in SCOPES:
                print(f"  {scope:8} {spread([each[scope] for each in found])}")
            print(f"  ratio    {spread([each['session'] / each['function'] for each in found])}")


def measure(project: Path, scope: str) -> float:
    options = [f"-oasyncio_default_{kind}_loop_scope={scope}" for kind in ("fixture", "test")]
    options.append("--ignore-glob=*/test_shared.py")
    return each_test(project, *options, plugins=("pgtemplate", "asyncio"))


if __name__ == "__main__":
    main()
