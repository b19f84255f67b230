"""Whole runs of pytest, timed: each with the plugins that it names and no others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from processes import cpu_seconds

TIMEOUT = 3600.0  # seconds
UNCOUNTED = 10  # the first tests, which carry what a run costs once; the last one is not counted
# For a conftest.py or a plugin: ``milliseconds_per_test`` reads what it prints.
TIMER = f"""
import time

MOMENTS = []

def pytest_runtest_logstart():
    MOMENTS.append(time.perf_counter())

def pytest_terminal_summary(terminalreporter):
    if len(MOMENTS) < {UNCOUNTED} + 2:
        return
    seconds = (MOMENTS[-1] - MOMENTS[{UNCOUNTED}]) / (len(MOMENTS) - 1 - {UNCOUNTED})
    terminalreporter.write_line(f"each test: {{1000 * seconds:.4f}} ms")
"""


class Run(NamedTuple):
    """When a run began, by time.time(), its seconds, those of CPU, and what it printed.

    The CPU seconds are those of pytest, its children and the server, if that is known.
    """

    began: float
    seconds: float
    cpu: float
    output: str


def run_pytest(
    root: Path,
    *arguments: str,
    plugins: Iterable[str],
    passed: int | None = None,
    environment: Mapping[str, str] | None = None,
    server: int | None = None,
) -> Run:
    """Run pytest in ``root``; so many tests have to pass, if given, and nothing may fail.

    ``server`` is the id of the first process of the PostgreSQL server that the run uses.
    """
    options = ["-q", "-p", "no:cacheprovider", *(f"-p{plugin}" for plugin in plugins)]
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # otherwise each run compiles every module
    env |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(root), **(environment or {})}
    began, moment, before = time.time(), time.perf_counter(), cpu_seconds(server)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    seconds, cpu = time.perf_counter() - moment, cpu_seconds(server) - before
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-5000:]
    assert f"{passed} passed" in output or passed is None, output[-5000:]
    return Run(began, seconds, cpu, output)


def milliseconds_per_test(output: str) -> float:
    """Return what TIMER has printed."""
    found = re.search(r"^each test: ([\d.]+) ms", output, re.MULTILINE)
    assert found is not None, output
    return float(found[1])
