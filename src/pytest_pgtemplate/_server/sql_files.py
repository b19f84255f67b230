"""Load SQL from the files beside the modules that run it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def load_sql(package: str, name: str) -> str:
    """Return the text of ``name.sql`` in a package of this plugin, such as ``_server``."""
    return files(f"pytest_pgtemplate.{package}").joinpath(f"{name}.sql").read_text("utf-8")
