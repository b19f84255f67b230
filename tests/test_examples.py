"""The examples are small projects of their own: each is copied, and its tests run on workers.

The short form runs one of them on the embedded server. The long form runs each of them there, and
on each kind of database.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pytest_pgtemplate import _urls
from support.kinds import KINDS, Kind, server_as, url_of
from support.projects import unique

HOME = Path.home()  # before pytester sets another: the runs here share the user's server
OFTEN = {"fastapi-parts"}  # tried in the short form
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*/pyproject.toml"))


@pytest.mark.parametrize(
    "pyproject",
    [
        pytest.param(path, id=name, marks=[] if name in OFTEN else pytest.mark.full)
        for path in EXAMPLES
        for name in [path.parent.name]
    ],
)
def test_an_example_passes_on_workers(
    pyproject: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes(pyproject, pytester, monkeypatch)


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("pyproject", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_example_passes_on_each_kind_of_database(
    pyproject: Path,
    kind: Kind,
    request: pytest.FixtureRequest,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = unique("example")
    options = [f"-opg_tracking={kind.tracking}", f"-opg_name={name}"]
    with server_as(url_of(request, kind.server), kind.role) as server:
        monkeypatch.setenv("PGTEMPLATE_URL", str(_urls.render(server.url)))
        try:
            passes(pyproject, pytester, monkeypatch, *options)
        finally:  # or the role cannot be dropped
            for database in server.databases():
                if database.name.startswith(name):
                    server.drop(database.name)


def passes(
    pyproject: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, *options: str
) -> None:
    for requirement in tomllib.loads(pyproject.read_text("utf-8"))["project"]["dependencies"]:
        needs(Requirement(requirement).name)
    project = shutil.copytree(pyproject.parent, pytester.path / pyproject.parent.name)
    tests = sum(path.read_text("utf-8").count("def test_") for path in project.glob("tests/*.py"))
    monkeypatch.setenv("HOME", str(HOME))
    monkeypatch.chdir(project)
    if "DJANGO_SETTINGS_MODULE" in pyproject.read_text("utf-8"):  # no other project needs it
        monkeypatch.setenv(
            "PYTEST_ADDOPTS", os.environ["PYTEST_ADDOPTS"].replace("-pno:django", "")
        )

    result = pytester.run(sys.executable, "-m", "pytest", "-n", "2", "--pg-verify", *options)

    assert result.ret == pytest.ExitCode.OK
    assert result.parseoutcomes()["passed"] >= tests > 0
    summary = r"pgtemplate: template .*; 2 databases( \((1 spare|2 spares)\))?, \d+ resets, "
    assert re.search(summary, result.stdout.str())


def needs(package: str) -> None:
    """The lowest versions are tested without the examples' packages."""
    try:
        distribution(package)
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
