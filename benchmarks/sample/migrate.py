"""The sample project's migrations, for those who call them from Python."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, make_url


def migrate(url: URL | str, root: Path = Path(__file__).parent) -> None:
    """Run ``alembic upgrade head`` on the database of ``url``."""
    config = Config(root / "alembic.ini")
    shown = make_url(url).render_as_string(hide_password=False)
    config.set_main_option("sqlalchemy.url", shown.replace("%", "%%"))
    command.upgrade(config, "head")
