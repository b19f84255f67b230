"""Detect changes of the driver's own connection object, which no SQL resets.

Codecs, adapters, row factories, listeners and autocommit belong to that object. Some drivers show
them. For others the plugin only knows that a test has accessed the object. If the object has or may
have changed, the connection is closed after the test.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

# Attributes of psycopg, psycopg2 and pg8000. SQLAlchemy resets isolation levels itself.
_VALUES = (
    "autocommit",
    "row_factory",
    "cursor_factory",
    "server_cursor_factory",
    "prepare_threshold",
    "prepared_max",
)
_COLLECTIONS = (
    "_notice_handlers",
    "_notify_handlers",
    "string_types",
    "binary_types",
    "py_types",
    "pg_types",
)
_MAPS = ("_dumpers", "_dumpers_by_oid", "_loaders")  # of psycopg's adapters, copied when changed


def driver_state(connection: Any) -> tuple[object, ...]:
    """Return the state of the driver's connection, for a comparison with a new connection."""
    driver = getattr(connection, "_connection", connection)  # of SQLAlchemy's async adapter
    if not hasattr(driver, "autocommit"):
        return ()  # asyncpg has no readable state
    adapters = getattr(driver, "_adapters", None)
    return (
        *(getattr(driver, name, None) for name in _VALUES),
        *(_content(getattr(driver, name, None)) for name in _COLLECTIONS),
        *(_content(getattr(adapters, name, None)) for name in _MAPS),
    )


def _content(collection: Any) -> object:
    if collection is None:
        return None
    values = [*collection.values()] if isinstance(collection, dict) else [*collection]
    if isinstance(collection, defaultdict) and collection.default_factory is not None:
        default = collection.default_factory()  # pg8000 adds this when it looks up an unknown type
        values = [each for each in values if each is not default]
    return len(values), sum(map(id, values))


_PREPARE = re.compile(r"\bprepare\s")
_CUSTOM_SETTING = re.compile(r'\bset\s+(?:session\s+|local\s+)?(?:"[^"]*\.|"?\w+"?\s*\.)')


def is_permanent(statement: str) -> bool:
    """Whether a statement is PREPARE or sets a custom setting, which no reset of a session undoes.

    DEALLOCATE ALL would also drop the statements that the driver has prepared. No query lists
    custom settings, and RESET makes them '', not NULL. Searching a lowered statement takes 1 µs;
    a case-insensitive expression takes 30 µs.
    """
    statement = statement.lower()
    return bool(
        ("prepare" in statement and _PREPARE.search(statement))
        or "set_config" in statement
        or ("set" in statement and _CUSTOM_SETTING.search(statement))
    )
