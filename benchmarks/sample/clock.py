"""A pytest plugin for all sides: when each test of a process began, and when its call ended.

Also the CPU seconds of the process and the server at the start of two tests: of the first that the
runner counts, and of the last.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from processes import cpu_seconds

UNCOUNTED = int(os.environ.get("BENCH_UNCOUNTED", "3"))  # tests at the beginning
BEGAN: list[float] = []
CALLED: list[float] = []
CPU: list[float] = []
LAST = [0]


def pytest_collection_finish(session: pytest.Session) -> None:
    LAST[0] = len(session.items) - 1


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart() -> None:
    if len(BEGAN) in (UNCOUNTED, LAST[0]):
        CPU.append(time.process_time() + cpu_seconds(int(os.environ["BENCH_SERVER"])))
    BEGAN.append(time.time())


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        CALLED.append(time.time())


def pytest_sessionfinish(session: pytest.Session) -> None:
    worker = getattr(session.config, "workerinput", {}).get("workerid", "main")
    file = Path(os.environ["BENCH_CLOCK"], f"{worker}.json")
    file.write_text(json.dumps({"began": BEGAN, "called": CALLED, "cpu": CPU}))
