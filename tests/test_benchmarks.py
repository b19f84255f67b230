"""benchmarks/peers runs with tiny numbers, with the sides that need only what the tests need."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from support.servers import need_binaries

ROOT = Path(__file__).parents[1]
BENCHMARKS, PUBLISHED = ROOT / "benchmarks", ROOT / "docs" / "benchmarks"
SIDES = {
    "suite": {"floor", "pgtemplate", "savepoint", "classic"},
    "reset": {"floor", "pgtemplate", "classic"},
    "start": {"floor", "pgtemplate", "classic"},
    "shared": {"pgtemplate"},
    "footprint": {"pgtemplate"},
}


@pytest.mark.parametrize(
    ("figure", "measured_sides"),
    [
        ("suite", {"floor", "pgtemplate"}),
        *(pytest.param(*each, marks=pytest.mark.full) for each in SIDES.items()),
    ],
)
def test_a_figure_is_measured_for_every_side_and_shown(
    figure: str, measured_sides: set[str], tmp_path: Path
) -> None:
    """The measurements are in figures.json, and a table shows each of them."""
    need_binaries()
    output = tmp_path / "results"
    command = [sys.executable, "-m", "peers", "--tiny", figure, "--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    environment.pop("PGTEMPLATE_URL", None)

    done = subprocess.run(
        [*command, "--sides", *measured_sides],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads((output / "figures.json").read_text())["measurements"]
    values = [value for each in measured for value in each["values"].values()]
    sides = {each["key"][2].partition(",")[0] for each in measured}
    assert sides == (measured_sides if figure != "shared" else {"pytest-pgtemplate"})
    assert values
    assert all(value > 0 for value in values)
    table = (output / "figures.md").read_text()
    assert all(each["key"][1] in table for each in measured)


def test_the_benchmark_needs_only_the_packages_of_its_environment() -> None:
    """``tox run -e bench`` installs neither the tests' packages nor the companions."""
    groups = tomllib.loads((BENCHMARKS.parent / "pyproject.toml").read_text())["dependency-groups"]
    names = [
        {_import_name(each) for name in chosen for each in groups[name] if isinstance(each, str)}
        for chosen in (("tests", "companions", "examples"), ("peers", "plots"))
    ]
    missing = sorted(names[0] - names[1])
    code = f"import sys; sys.modules.update(dict.fromkeys({missing})); import peers.__main__"

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert {"hypothesis", "fastapi"} <= set(missing)
    assert done.returncode == 0, done.stderr


def _import_name(requirement: str) -> str:
    """The module of a requirement, where both have one name; it is what the tests import."""
    name = re.split(r"[\[<>=]", requirement)[0].replace("-", "_")
    return {"pyyaml": "yaml", "psycopg2_binary": "psycopg2"}.get(name, name)


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    """A second run takes the values from figures.json, and adds only what is missing there."""
    need_binaries()
    key = ["footprint", "10 tables, 2 workers", "pgtemplate", 0]
    known = {"measurements": [{"key": key, "values": {"template, disk": 1234.5}}]}
    (tmp_path / "figures.json").write_text(json.dumps(known))
    command = [sys.executable, "-m", "peers", "--tiny", "footprint", "--output", str(tmp_path)]

    subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS)},
        check=True,
        capture_output=True,
        timeout=600,
    )

    assert (
        json.loads((tmp_path / "figures.json").read_text())["measurements"] == known["measurements"]
    )
    assert "| template, disk | 1234.5 MB |" in (tmp_path / "figures.md").read_text()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The published measurements."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module("peers.results").Results(PUBLISHED / "figures.json")


@pytest.mark.parametrize("name", ["README.md", "docs/benchmarks.md"])
def test_the_tables_of_the_pages_are_those_of_the_published_measurements(
    name: str, published: Any
) -> None:
    report = import_module("peers.report")
    page = (ROOT / name).read_text("utf-8")

    assert report.fill_page(page, published, PUBLISHED) == page, "run: python -m peers --publish"


def test_a_new_measurement_appears_in_the_page(published: Any) -> None:
    report = import_module("peers.report")
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    key = import_module("peers.results").Key("reset", "rows 7", "floor", 0)
    published._values[key] = {"wall": 1.0, "CPU": 1.234}

    filled = report.fill_page(page, published, PUBLISHED)

    assert "| rows 7 |" not in page
    assert re.search(r"^\|  \| rows 1 .*\| rows 7 \|$", filled, re.MULTILINE)
    assert re.search(r"^\| floor: nothing isolated .*\| 1\.23 ms \|$", filled, re.MULTILINE)


def test_a_plot_is_drawn(published: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: dependency group plots")
    import_module("peers.plots").draw(published, tmp_path)

    names = {path.name for path in tmp_path.glob("*.svg")}
    assert names == {path.name for path in PUBLISHED.glob("*.svg")}
