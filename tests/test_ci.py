"""CI starts warm: the recipes in examples/ci, run as two jobs, of which the second has a cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_pgtemplate import _embedded
from support.projects import COUNTED, ITEM, TESTS, Project

RECIPES = Path(__file__).parents[1] / "examples" / "ci"
OURS = ("pytest ", "pgtemplate ", "test ! -f ")
LONG_AGO = 1_000_000_000.0


def commands(recipe: dict[Any, Any]) -> list[str]:
    """What the job runs, but for what it installs."""
    job = recipe["jobs"]["tests"] if "jobs" in recipe else recipe["tests"]
    steps = job.get("steps", ())
    lines: list[str] = job.get("script") or [step["run"] for step in steps if "run" in step]
    assert lines[0].startswith("pip install")
    return lines[1:]


def cached(recipe: dict[Any, Any]) -> str:
    """The path that the cache keeps."""
    if "jobs" not in recipe:
        [path] = recipe["tests"]["cache"]["paths"]
        return str(path)
    steps = recipe["jobs"]["tests"]["steps"]
    [path] = [step["with"]["path"] for step in steps if "cache@" in step.get("uses", "")]
    return str(path)


def read(name: str) -> dict[Any, Any]:
    recipe: dict[Any, Any] = yaml.safe_load((RECIPES / name).read_text("utf-8"))
    return recipe


def test_every_recipe_is_run() -> None:
    assert {path.name for path in RECIPES.iterdir()} == {
        f"{ci}-{server}.yml"
        for ci in ("github-actions", "gitlab")
        for server in ("service", "embedded")
    }


@pytest.fixture
def shop(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    project.alembic()
    project.revision("one", ITEM + COUNTED)
    project.write("test_it.py", TESTS)
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "0")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return project


def run(shop: Project, recipe: dict[Any, Any]) -> str:
    """One job, after what it installs."""
    output = ""
    for command in commands(recipe):
        assert command.startswith(OURS), command
        done = subprocess.run(
            ["sh", "-ec", command], cwd=shop.root, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        output += done.stdout
    assert "4 passed" in output
    return output


@pytest.mark.full
def test_a_service_container(shop: Project) -> None:
    """It is new in every job, so that all there is comes from the file."""
    recipe, other = read("github-actions-service.yml"), read("gitlab-service.yml")
    assert (commands(recipe), cached(recipe)) == (commands(other), cached(other))
    assert "saved " in run(shop, recipe)
    shop.clean()
    assert (shop.root / cached(recipe)).exists()
    output = run(shop, recipe)
    assert "loaded in " in output
    assert " reused;" in output
    assert shop.migrations() == 1


# The embedded server


def is_rebuilt(new_user_home: Path) -> bool:
    """Whether initdb has run: what it wrote is of today."""
    [version] = new_user_home.glob(".cache/pytest-pgtemplate/pg*/data/PG_VERSION")
    return version.stat().st_mtime != LONG_AGO


def age(new_user_home: Path) -> None:
    [version] = new_user_home.glob(".cache/pytest-pgtemplate/pg*/data/PG_VERSION")
    os.utime(version, (LONG_AGO, LONG_AGO))


def through_a_cache(directory: Path) -> None:
    """Pack it, remove it and unpack it in the same place, as the next job does."""
    archive = directory.with_suffix(".tar")
    subprocess.run(["tar", "-cf", archive, "-C", directory, "."], check=True)
    shutil.rmtree(directory)
    directory.mkdir()
    subprocess.run(["tar", "-xpf", archive, "-C", directory], check=True)
    archive.unlink()


@pytest.mark.full
def test_the_directory_of_the_embedded_server(shop: Project, new_user_home: Path) -> None:
    """No migration and no initdb in the second job; but both after a stop that was not clean."""
    recipe = read("github-actions-embedded.yml")
    directory = new_user_home / Path(cached(recipe)).relative_to("~")
    run(shop, recipe)
    age(new_user_home)
    through_a_cache(directory)
    assert " reused;" in run(shop, recipe)
    assert shop.migrations() == 1
    assert not is_rebuilt(new_user_home)

    handle = _embedded.acquire(None, timeout=60)
    through_a_cache_while_it_runs(directory, handle.close)
    assert " reused;" not in run(shop, recipe)
    assert shop.migrations() == 2
    assert is_rebuilt(new_user_home)


def through_a_cache_while_it_runs(directory: Path, leave: Callable[[], None]) -> None:
    """A job that does not stop the server."""
    archive = directory.with_suffix(".tar")
    # A file may change or go while tar reads it.
    subprocess.run(["tar", "-cf", archive, "-C", directory, "."], check=False, capture_output=True)
    leave()
    _embedded.stop(None)
    shutil.rmtree(directory)
    directory.mkdir()
    subprocess.run(["tar", "-xpf", archive, "-C", directory], check=True, capture_output=True)


@pytest.mark.full
def test_the_embedded_server_and_a_file(shop: Project, new_user_home: Path) -> None:
    recipe = read("gitlab-embedded.yml")
    run(shop, recipe)
    _embedded.stop(None)
    shutil.rmtree(new_user_home / ".cache")
    output = run(shop, recipe)
    assert "loaded in " in output
    assert " reused;" in output
    assert shop.migrations() == 1
