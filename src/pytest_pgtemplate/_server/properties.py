"""Properties of a database that CREATE DATABASE .. TEMPLATE does not copy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pytest_pgtemplate._server.marks import Mark
from pytest_pgtemplate._server.quoting import quote_identifier, quote_literal

# Lists of names that may be quoted: SET .. TO 'a, b' would set one name. As in PostgreSQL's
# variable_is_guc_list_quote(), which pg_dump uses.
_QUOTED_LISTS = {
    *("local_preload_libraries", "search_path", "session_preload_libraries"),
    *("shared_preload_libraries", "temp_tablespaces", "unix_socket_directories"),
}


def read_properties(mark: Mark, row: Mapping[str, Any]) -> Mark:
    """Return ``mark`` with the properties of a database: a row of ``settings.sql``."""
    return replace(
        mark,
        settings=tuple(map(tuple, json.loads(row["settings"]))),
        role_settings=tuple(map(tuple, json.loads(row["role_settings"]))),
        grants=tuple(json.loads(row["grants"])) if row["has_acl"] else None,
        owner=row["owner"],
        size=row["size"],
    )


def apply_properties(name: str, mark: Mark) -> Iterator[str]:
    """Yield the statements that give a new database the properties in its mark."""
    quoted = quote_identifier(name)
    for key, value in mark.settings:
        yield _set_statement(f"ALTER DATABASE {quoted}", key, value)
    for role, key, value in mark.role_settings:
        yield _set_statement(f"ALTER ROLE {role} IN DATABASE {quoted}", key, value)
    if mark.grants is not None:
        grants = "".join(f"; {grant % quoted}" for grant in mark.grants)
        yield f"REVOKE ALL ON DATABASE {quoted} FROM PUBLIC{grants}"
    if mark.owner:
        yield f"ALTER DATABASE {quoted} OWNER TO {mark.owner}"


def _set_statement(statement: str, key: str, value: str) -> str:
    """Return a statement that stores a setting with exactly this value."""
    if key.lower() in _QUOTED_LISTS:
        return (
            f"SELECT set_config({quote_literal(key)}, {quote_literal(value)}, true);"
            f" {statement} SET {quote_identifier(key)} FROM CURRENT"
        )
    return f"{statement} SET {quote_identifier(key)} TO {quote_literal(value)}"
