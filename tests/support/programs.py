"""The programs of child runs: files in tests/programs, which ruff and an editor see."""

from __future__ import annotations

from pathlib import Path

PROGRAMS = Path(__file__).parents[1] / "programs"


def load_program(name: str) -> str:
    """Return a file in tests/programs: a test module, conftest.py, script or SQL."""
    return (PROGRAMS / name).read_text("utf-8")
