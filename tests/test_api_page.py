"""docs/api.md can be read without building the site: docs/.api.py writes its tables."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest_pgtemplate
from pytest_pgtemplate import errors

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"


def test_the_page_is_the_one_that_the_script_writes() -> None:
    script = runpy.run_path(str(ROOT / "docs" / ".api.py"))
    page = PAGE.read_text("utf-8")

    assert script["render"](page) == page, "run: python docs/.api.py"


def test_the_page_has_every_public_name_and_every_error() -> None:
    page = PAGE.read_text("utf-8")
    names = [*pytest_pgtemplate.__all__, *(name for name in vars(errors) if name.endswith("Error"))]

    assert [name for name in names if f"| `{name}" not in page] == []
