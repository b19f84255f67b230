"""A section in the report of a failed test, which shows how to connect to its database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_pgtemplate._run.error_reporter import walk_causes
from pytest_pgtemplate._run.run import Run
from pytest_pgtemplate._urls import database_names

if TYPE_CHECKING:
    from pytest_pgtemplate._run.isolated_database import IsolatedDatabase


def failure_section(run: Run, error: BaseException | None) -> str:
    """Return the section for a failed test, empty unless it has used a database."""
    return "\n".join(
        "\n".join(_lines(database, database.worker.database.name, error))
        for database in run.databases.values()
        if database.worker is not None and database.used
    )


def _lines(database: IsolatedDatabase, name: str, error: BaseException | None) -> list[str]:
    lines = [f"database: {name}"]
    if database.layers.active.owners:
        lines.append(f"it contains the rows of {', '.join(database.layers.active.owners)}")
    if database.settings.isolation.keep_failed:
        name = database_names.kept(name, len(database.stats.kept) + 1)
        lines.append(f"kept as: {name}")
    elif not database.settings.isolation.keep:
        lines.append("the plugin resets it after this test; --pg-keep-failed keeps it")
    lines.append(f"connect with: {database.psql_command(name)}")
    if database.engines.lock_waits_limited():
        from pytest_pgtemplate._engines import lock_wait_hints

        lines += lock_wait_hints([*walk_causes(error)])
    return lines
