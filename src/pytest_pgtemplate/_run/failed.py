"""What a failing test is told of its database."""

from __future__ import annotations

import pytest

from pytest_pgtemplate import _names
from pytest_pgtemplate._run.run import Run


def section(run: Run, item: pytest.Item) -> str:
    """Where its rows are to be seen; "" for a test that has no database."""
    if run.worker is None or "pg_database" not in getattr(item, "fixturenames", ()):
        return ""
    name = run.worker.database.name
    lines = [f"database: {name}"]
    if run.layers.owners:
        lines.append(f"with what was written by {', '.join(run.layers.owners)}")
    if run.settings.keep_failed:
        name = _names.kept(name, len(run.stats.kept) + 1)
        lines.append(f"kept as: {name}")
    elif not run.settings.keep:
        lines.append("dropped when the run ends; --pg-keep-failed keeps it")
    lines.append(f"open it: {run.psql(name)}")
    return "\n".join(lines)
