"""Whole runs of pytest, timed: each with the plugins that it names and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

TIMEOUT = 3600.0  # seconds


class Run(NamedTuple):
    """When a run began, by time.time(), how long it took in seconds, and what it printed."""

    began: float
    seconds: float
    output: str


def run_pytest(
    root: Path,
    *arguments: str,
    plugins: Iterable[str],
    passed: int,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run pytest in ``root``; so many tests have to pass, and nothing may fail."""
    options = ["-q", "-p", "no:cacheprovider", *(f"-p{plugin}" for plugin in plugins)]
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # else each run compiles everything anew
    env |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(root), **(environment or {})}
    began, moment = time.time(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    seconds = time.perf_counter() - moment
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-5000:]
    assert f"{passed} passed" in output, output[-5000:]
    return Run(began, seconds, output)
