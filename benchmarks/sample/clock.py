"""A pytest plugin for all sides: when each test of a process began, and when its call ended."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

BEGAN: list[float] = []
CALLED: list[float] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart() -> None:
    BEGAN.append(time.time())


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        CALLED.append(time.time())


def pytest_sessionfinish(session: pytest.Session) -> None:
    worker = getattr(session.config, "workerinput", {}).get("workerid", "main")
    file = Path(os.environ["BENCH_CLOCK"], f"{worker}.json")
    file.write_text(json.dumps({"began": BEGAN, "called": CALLED}))
