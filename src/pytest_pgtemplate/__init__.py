"""A PostgreSQL database per pytest-xdist worker, cloned from a template that is migrated once."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_pgtemplate._server import Server
    from pytest_pgtemplate._template import (
        Alembic,
        Command,
        Metadata,
        Migrations,
        SqlFiles,
        Target,
        Template,
    )
    from pytest_pgtemplate._worker import Database

__all__ = [
    "Alembic",
    "Command",
    "Database",
    "Metadata",
    "Migrations",
    "Server",
    "SqlFiles",
    "Target",
    "Template",
]

_PACKAGES = {"Database": "_worker", "Server": "_server"}  # the others: "_template"


def __getattr__(name: str) -> Any:
    """Import on first use: pytest loads this package in every run, database tests or not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PACKAGES.get(name, '_template')}"), name)
