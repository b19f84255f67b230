"""The Alembic environments of the benchmarks: one env.py, and revisions as a benchmark likes."""

from __future__ import annotations

from pathlib import Path

INI = """
[alembic]
script_location = %(here)s/migrations
path_separator = os
sqlalchemy.url = {url}
"""
ENV = """
from alembic import context
from sqlalchemy import Engine, MetaData, create_engine, pool

def migrate(connection):
    context.configure(
        connection=connection, target_metadata=MetaData(), include_object=lambda *_: False
    )
    with context.begin_transaction():
        context.run_migrations()

url = context.config.get_main_option("sqlalchemy.url")
given = context.config.attributes.get("connection") or create_engine(url, poolclass=pool.NullPool)
if isinstance(given, Engine):
    with given.connect() as connection:
        migrate(connection)
else:
    migrate(given)
"""
REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "{number:04}"
down_revision = {down!r}

def upgrade():
    {up}

def downgrade():
    {undo}
"""


def write_environment(root: Path, url: str = "") -> None:
    """Write alembic.ini and an env.py that takes the URL of the configuration, or a connection."""
    (root / "migrations" / "versions").mkdir(parents=True)
    (root / "alembic.ini").write_text(INI.format(url=url.replace("%", "%%")), "utf-8")
    (root / "migrations" / "env.py").write_text(ENV, "utf-8")


def write_revision(root: Path, number: int, up: str, undo: str = "pass") -> None:
    """Write revision ``number``, which counts from 1 and follows the one before it."""
    down = f"{number - 1:04}" if number > 1 else None
    text = REVISION.format(number=number, down=down, up=up, undo=undo)
    (root / "migrations" / "versions" / f"{number:04}.py").write_text(text, "utf-8")
