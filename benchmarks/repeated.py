"""Copy an example, repeat each of its tests, and measure the time per test."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterable
from pathlib import Path

from runs import TIMER, milliseconds_per_test, run_pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PLUGIN = """
def pytest_generate_tests(metafunc):
    metafunc.fixturenames.append("_round")
    metafunc.parametrize("_round", range({times}))
"""


def copy_example(name: str, directory: Path, times: int) -> Path:
    """Copy an example with a plugin that runs each of its tests so many times."""
    project = _copy_catalog(directory) if name == "catalog" else _copy(name, directory)
    (project / "repeat_tests.py").write_text(TIMER + PLUGIN.format(times=times))
    return project


def _copy(name: str, directory: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(EXAMPLES / name, directory / name, ignore=ignored)


def _copy_catalog(directory: Path) -> Path:
    """Copy the sample application. Its migrations are in the root of the repository."""
    project = directory / "sample"
    _copy("catalog", project / "examples")
    shutil.copytree(ROOT / "alembic", project / "alembic")
    shutil.copy(ROOT / "alembic.ini", project)
    (project / "pytest.ini").write_text("[pytest]\npythonpath = examples\n")
    return project


def each_test(project: Path, *arguments: str, plugins: Iterable[str]) -> float:
    """Run the tests, without randomly ordered ones; return the milliseconds that a test takes."""
    done = run_pytest(project, *arguments, plugins=[*plugins, "repeat_tests"])
    return milliseconds_per_test(done.output)


def spread(values: list[float], digits: int = 2) -> str:
    """Return the median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{middle:.{digits}f} ({low:.{digits}f} .. {high:.{digits}f})"
