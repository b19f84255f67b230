"""What a failing test is told of its database."""

from __future__ import annotations

import pytest

from pytest_pgtemplate._run.isolated_database import IsolatedDatabase
from pytest_pgtemplate._run.run import Run
from pytest_pgtemplate._urls import database_names


def failure_section(run: Run, item: pytest.Item) -> str:
    """Where its rows are to be seen; "" for a test that has no database."""
    needed = getattr(item, "fixturenames", ())
    return "\n".join(
        "\n".join(_lines(each, each.worker.database.name))
        for each in run.databases.values()
        if each.worker is not None and each.fixture_name("pg_database") in needed
    )


def _lines(database: IsolatedDatabase, name: str) -> list[str]:
    lines = [f"database: {name}"]
    if database.layers.owners:
        lines.append(f"with what was written by {', '.join(database.layers.owners)}")
    if database.settings.isolation.keep_failed:
        name = database_names.kept(name, len(database.stats.kept) + 1)
        lines.append(f"kept as: {name}")
    elif not database.settings.isolation.keep:
        lines.append("dropped when the run ends; --pg-keep-failed keeps it")
    lines.append(f"open it: {database.psql_command(name)}")
    return lines
