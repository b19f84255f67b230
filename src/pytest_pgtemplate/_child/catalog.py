"""In the child process: read all objects and rows of a database as text, incrementally."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Key = tuple[int, int]  # oid of the catalog (0: rows of a table), and oid of the object
Line = tuple[str | None, str]  # the object that contains this one, and the definition
ROWS = 0
OBJECTS_AND_ROWS = """
SELECT catalog, id, part_of, object, definition, NULL AS content
  FROM pg_temp.pgtemplate_objects(CAST(string_to_array(CAST(:objects AS text), ' ') AS oid[]))
 UNION ALL
SELECT 0, id, NULL, relation, NULL, content
  FROM pg_temp.pgtemplate_rows(CAST(string_to_array(CAST(:tables AS text), ' ') AS oid[]))
"""


@dataclass(frozen=True)
class TableRows:
    """The rows of a table. ``content`` is None if the table is too large to show them."""

    digest: str
    content: tuple[str, ...] | None


@dataclass(frozen=True)
class DatabaseState:
    """The contents of a database: its objects by name, and the rows of each non-empty table."""

    objects: dict[str, Line] = field(default_factory=dict)
    rows: dict[str, TableRows] = field(default_factory=dict)


class CatalogReader:
    """Reads the state of the database of ``connection``, with temporary functions.

    A later ``read`` reads again only what was written since the previous one. After a rename it
    reads everything, because definitions of other objects can contain the name.
    """

    def __init__(self, connection: Any, functions: list[str], *, one_transaction: bool) -> None:
        self._connection = connection
        self._one_transaction = one_transaction
        for function in functions:
            self._connection.exec_driver_sql(function)
        self._versions: set[str] = set()
        self._names: dict[Key, set[str]] = {}
        self._state = DatabaseState()

    def read(self) -> DatabaseState:
        versions = set(self._versions_now().splitlines())
        if versions != self._versions:
            written = {_key(line): line for line in versions - self._versions}
            dropped = {_key(line) for line in self._versions - versions}
            before = {key: self._names.get(key, set()) for key in written}
            self._versions = versions
            self._update(written, dropped)
            now = {key: self._names.get(key, set()) for key in written}
            if any(before[key] - now[key] and now[key] - before[key] for key in written):
                self._update({_key(line): line for line in versions}, set(self._names))
        return self._state

    def _update(self, written: dict[Key, str], dropped: set[Key]) -> None:
        self._state = DatabaseState({**self._state.objects}, {**self._state.rows})
        for key in dropped:
            entries: dict[str, Any] = self._state.rows if key[0] == ROWS else self._state.objects
            for name in self._names.pop(key, ()):
                entries.pop(name, None)
        for catalog, id_, part_of, name, definition, content in self._read_objects(written):
            self._names.setdefault((catalog, id_), set()).add(name)
            if catalog == ROWS:
                digest = written[catalog, id_].split(" ", 2)[2]
                self._state.rows[name] = TableRows(
                    digest, None if content is None else tuple(content)
                )
            else:
                self._state.objects[name] = (part_of, definition)

    def _versions_now(self) -> str:
        call = f"SELECT pg_temp.pgtemplate_versions({self._one_transaction})"
        lines: str = self._connection.exec_driver_sql(call).scalar()
        return lines

    def _read_objects(self, written: Collection[Key]) -> Any:
        """Read objects and rows in one round trip."""
        objects = " ".join(str(id_) for catalog, id_ in written if catalog != ROWS)
        tables = " ".join(str(id_) for catalog, id_ in written if catalog == ROWS)
        return self._connection.execute(_query(), {"objects": objects, "tables": tables}).all()


@cache
def _query() -> Any:
    from sqlalchemy import text

    return text(OBJECTS_AND_ROWS)


def _key(line: str) -> Key:
    catalog, id_, _ = line.split(" ", 2)
    return int(catalog), int(id_)
