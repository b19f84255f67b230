"""Copies of the examples whose tests run many times, and what each of these tests takes."""

from __future__ import annotations

import re
import shutil
import statistics
from collections.abc import Iterable
from pathlib import Path

from runs import run_pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PLUGIN = """
import time

MOMENTS = []

def pytest_generate_tests(metafunc):
    metafunc.fixturenames.append("_round")
    metafunc.parametrize("_round", range({times}))

def pytest_runtest_logstart():
    MOMENTS.append(time.perf_counter())

def pytest_terminal_summary(terminalreporter):
    if len(MOMENTS) < {uncounted} + 2:
        return
    seconds = (MOMENTS[-1] - MOMENTS[{uncounted}]) / (len(MOMENTS) - 1 - {uncounted})
    terminalreporter.write_line(f"each test: {{1000 * seconds:.4f}} ms")
"""
UNCOUNTED = 10  # the first tests, which carry what a run costs once; and the last one


def copy_example(name: str, directory: Path, times: int) -> Path:
    """Copy an example with a plugin that runs each of its tests so many times."""
    project = _copy_catalog(directory) if name == "catalog" else _copy(name, directory)
    (project / "repeat_tests.py").write_text(PLUGIN.format(times=times, uncounted=UNCOUNTED))
    return project


def _copy(name: str, directory: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(EXAMPLES / name, directory / name, ignore=ignored)


def _copy_catalog(directory: Path) -> Path:
    """Copy the sample application, whose migrations and settings are in the repository's root."""
    project = directory / "sample"
    _copy("catalog", project / "examples")
    shutil.copytree(ROOT / "alembic", project / "alembic")
    shutil.copy(ROOT / "alembic.ini", project)
    (project / "pytest.ini").write_text("[pytest]\npythonpath = examples\n")
    return project


def each_test(project: Path, *arguments: str, plugins: Iterable[str]) -> float:
    """Run the tests, without randomly ordered ones; return the milliseconds that a test takes."""
    done = run_pytest(project, *arguments, plugins=[*plugins, "repeat_tests"])
    found = re.search(r"^each test: ([\d.]+) ms", done.output, re.MULTILINE)
    assert found is not None, done.output
    return float(found[1])


def spread(values: list[float], digits: int = 2) -> str:
    """Return the median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{middle:.{digits}f} ({low:.{digits}f} .. {high:.{digits}f})"
