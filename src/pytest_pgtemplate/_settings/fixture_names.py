"""Names of the fixtures of each database."""

from __future__ import annotations

import re


def fixture_name(name: str, database: str) -> str:
    """Return the name of a fixture for ``database``: ``pg_url`` becomes ``pg_orders_url``."""
    return re.sub(r"^(_?pg)(?=_|$)", rf"\1_{database}", name) if database else name


def is_fixture_name(name: str) -> bool:
    """Whether ``name`` is a fixture of the plugin for any database, or an override of one."""
    return name == "pg" or name.startswith(("pg_", "_pg"))
