"""What the fixtures of each database are called."""

from __future__ import annotations

import re


def fixture_name(name: str, database: str) -> str:
    """What the fixture ``name`` of the main database is called for ``database``: pg_orders_url."""
    return re.sub(r"^(_?pg)(?=_|$)", rf"\1_{database}", name) if database else name


def is_fixture_name(name: str) -> bool:
    """Whether a fixture is the plugin's, of whichever database, or a user's override of one."""
    return name == "pg" or name.startswith(("pg_", "_pg"))
