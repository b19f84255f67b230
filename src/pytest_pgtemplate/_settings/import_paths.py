"""``pg_bind``: import paths of the application's sessionmakers and engines, by database."""

from __future__ import annotations

import re
from collections.abc import Collection

import pytest

from pytest_pgtemplate._settings import options

_ENTRY = r"(?:(?P<database>[a-z0-9_]+)=)?(?P<path>\w+(?:\.\w+)*:\w+(?:\.\w+)*)"


def read_bind(config: pytest.Config, databases: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the import paths of each database. Raises UsageError for an invalid entry."""
    paths: dict[str, tuple[str, ...]] = {}
    entries: list[str] = options.from_ini(config, "pg_bind")
    seen: set[str] = set()
    for entry in entries:
        match = re.fullmatch(_ENTRY, entry)
        if match is None:
            raise pytest.UsageError(
                f"pg_bind: {entry!r} is not an import path; write myapp.db:SessionLocal, or"
                " orders=myapp.orders:Session for a database in pg_databases"
            )
        database, path = match["database"] or "", match["path"]
        if database and database not in databases:
            raise pytest.UsageError(f"pg_bind: {entry}: pg_databases does not name {database}")
        if path in seen:
            raise pytest.UsageError(f"pg_bind: {path} appears twice")
        seen.add(path)
        paths[database] = (*paths.get(database, ()), path)
    return paths
