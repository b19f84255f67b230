"""What a test can change in the driver's own connection, where no SQL resets it.

Codecs, adapters, row factories, listeners and autocommit are objects in this process. Which of them
a test has changed is known for some drivers; for others it is only known that a test took the
connection. Such a connection is closed after the test.
"""

from __future__ import annotations

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
    """What the driver's connection is set to, to be compared with what it was when it was new."""
    driver = getattr(connection, "_connection", connection)  # of SQLAlchemy's async adapter
    if not hasattr(driver, "autocommit"):
        return ()  # asyncpg, which tells nothing
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
        default = collection.default_factory()  # pg8000 has looked for what it does not know
        values = [each for each in values if each is not default]
    return len(values), sum(map(id, values))
