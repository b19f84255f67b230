"""Wheels with the programs of a PostgreSQL server: each one serves, a broken one is skipped."""

from __future__ import annotations

import re
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from pytest_pgtemplate._embedded import binaries, wheels
from pytest_pgtemplate._embedded.wheels import WHEELS, Wheel
from pytest_pgtemplate.errors import EmbeddedServerError

ROOT = Path(__file__).parents[1]
HOME = Path.home()  # before pytester sets another: the servers' data is in its cache


@pytest.mark.full
@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: f"{wheel.package}-{wheel.installation}")
def test_the_sample_application_runs_on_it(
    wheel: Wheel, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(HOME))  # also where an archive is unpacked
    bindir = wheel.bindir
    if bindir is None:
        pytest.skip(f"{wheel.package} is not installed")
    monkeypatch.delenv("PGTEMPLATE_URL", raising=False)
    monkeypatch.chdir(ROOT)
    command = ["-n", "2", "examples/catalog", f"--pg-bindir={bindir}", "-pno:cacheprovider"]

    result = pytester.run(sys.executable, "-m", "pytest", *command)

    assert result.ret == pytest.ExitCode.OK
    assert result.parseoutcomes()["passed"] > 20


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Wheels of this test's own: one lacks a library, one is an archive."""
    broken, archived = tmp_path / "broken_wheel", tmp_path / "archived_wheel"
    program(broken / "pginstall" / "bin" / "initdb", "exit 0")
    program(broken / "pginstall" / "bin" / "postgres", "echo libicu.so.67: not found >&2; exit 127")
    (broken / "__init__.py").write_text("raise RuntimeError('it is never imported')", "utf-8")

    tree = tmp_path / "postgresql-17.1-x86"
    program(tree / "bin" / "initdb", "exit 0")
    program(tree / "bin" / "postgres", 'echo "postgres (PostgreSQL) 17.1"')
    archived.mkdir()
    (archived / "__init__.py").touch()
    with tarfile.open(archived / "postgresql-17.1-x86.tar.gz", "w:gz") as tar:
        tar.add(tree, tree.name)

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own = (
        Wheel("broken", "broken_wheel", "pginstall"),
        Wheel("archived", "archived_wheel", "postgresql-*.tar.gz"),
        Wheel("absent", "absent_wheel", "pginstall"),
    )
    monkeypatch.setattr(wheels, "WHEELS", own)
    yield tmp_path
    binaries._version.cache_clear()


@pytest.mark.usefixtures("packages")
def test_a_wheel_that_lacks_a_library_is_passed_over() -> None:
    found = binaries.find_binaries(None)

    assert (found.source, found.version) == ("the wheel archived", "17.1")


@pytest.mark.usefixtures("packages")
def test_the_error_says_in_a_line_what_it_lacks() -> None:
    with pytest.raises(EmbeddedServerError, match=r"broken: postgres .* libicu\.so\.67: not found"):
        binaries.find_binaries(None, 99)


@pytest.mark.skipif(sys.platform == "darwin", reason="another cache directory")
def test_an_archive_is_unpacked_once(packages: Path) -> None:
    first = binaries.find_binaries(None).bindir
    changed = first.parent.stat().st_mtime_ns

    assert packages / "cache" in first.parents
    assert binaries.find_binaries(None).bindir == first
    assert first.parent.stat().st_mtime_ns == changed
    assert [path.name for path in first.parents[2].iterdir()] == ["postgresql-17.1-x86.tar.gz"]


def test_a_damaged_archive_is_passed_over(packages: Path) -> None:
    (packages / "archived_wheel" / "postgresql-17.1-x86.tar.gz").write_bytes(b"no archive")

    with pytest.raises(EmbeddedServerError, match="archived: no initdb in"):
        binaries.find_binaries(None, 99)


def test_the_page_lists_every_wheel() -> None:
    page = (ROOT / "docs" / "embedded.md").read_text("utf-8")

    assert [wheel.package for wheel in WHEELS if f"`{wheel.package}`" not in page] == []


def test_a_tox_environment_installs_every_wheel() -> None:
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini", "utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    requirements = tox["testenv:wheels"]["deps"].splitlines()
    for extra in tox["testenv"]["extras"].split(", "):
        requirements += project["optional-dependencies"][extra]
    installed = {re.split(r"[=><;]", each)[0].strip() for each in requirements}

    assert {wheel.package for wheel in WHEELS} <= installed
