"""docs/api.md can be read without building the site: docs/.api.py writes its tables."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import pytest

import pytest_pgtemplate
from pytest_pgtemplate import errors

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
# Of a Target, for the kinds of migrations of this package.
INTERNAL = {"progress", "revisions_cache", "bindir"}


def test_the_page_is_the_one_that_the_script_writes() -> None:
    script = runpy.run_path(str(ROOT / "docs" / ".api.py"))
    page = PAGE.read_text("utf-8")

    assert script["render"](page) == page, "run: python docs/.api.py"


def test_the_page_has_every_public_name_and_every_error() -> None:
    page = PAGE.read_text("utf-8")
    names = [*pytest_pgtemplate.__all__, *(name for name in vars(errors) if name.endswith("Error"))]

    assert [name for name in names if f"| `{name}" not in page] == []


def test_the_page_can_be_read_without_the_site() -> None:
    page = PAGE.read_text("utf-8")

    assert [line for line in page.splitlines() if line.startswith(":::")] == []
    assert "<factory>" not in page


@pytest.mark.parametrize("name", ["Database", "Migrations", "Target", "Template"])
def test_the_page_has_every_public_member(name: str) -> None:
    cls = getattr(pytest_pgtemplate, name)
    members = {*inspect.get_annotations(cls), *vars(cls)}
    public = {each for each in members if not each.startswith("_")} - INTERNAL
    page = PAGE.read_text("utf-8")

    assert public
    assert {
        each for each in public if not re.search(rf"^\| `{name}\.{each}\b", page, re.MULTILINE)
    } == set()
