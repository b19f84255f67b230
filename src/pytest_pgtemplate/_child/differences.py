"""In the child process: compare two states of a database, for the verdict on a revision."""

from __future__ import annotations

import re
from collections import Counter

from pytest_pgtemplate._child.catalog import DatabaseState, TableRows

Changes = list[tuple[str | None, str, str | None, str | None]]  # container, object, before, after
_FIELD = re.compile(r'((?:"(?:[^"]|"")*"|[^",])*)(?:,|$)')  # of a composite value
_NO_ROWS = TableRows("", ())


def object_changes(before: DatabaseState, after: DatabaseState) -> Changes:
    """Return the objects that were added, removed or defined differently."""
    if before.objects == after.objects:
        return []
    missing = (None, None)
    return [
        (old[0] or new[0], name, old[1], new[1])
        for name in sorted(before.objects.keys() | after.objects.keys())
        if (old := before.objects.get(name, missing)) != (new := after.objects.get(name, missing))
    ]


def row_changes(before: DatabaseState, after: DatabaseState) -> Changes:
    """Return the rows that were added, removed or changed, in tables with the same columns."""
    changes: Changes = []
    for table in sorted(before.rows.keys() | after.rows.keys()):
        old, new = before.rows.get(table, _NO_ROWS), after.rows.get(table, _NO_ROWS)
        if old.digest == new.digest or (order := _order_of_columns(before, after, table)) is None:
            continue
        if old.content is None or new.content is None:
            how = "different" if order == sorted(order) else "too many to compare in another order"
            changes.append((table, f"rows of {table}", "unchanged", how))
            continue
        removed = Counter(old.content)
        added = Counter(_reordered(row, order) for row in new.content)
        changes += [(table, f"row of {table}", row, None) for row in (removed - added).elements()]
        changes += [(table, f"row of {table}", None, row) for row in (added - removed).elements()]
    return changes


def _order_of_columns(before: DatabaseState, after: DatabaseState, table: str) -> list[int] | None:
    """Return where each column of ``before`` is in ``after``; None if they have other columns."""
    name = f"columns of {table}"
    old, new = (state.objects.get(name, ("", ""))[1].split(", ") for state in (before, after))
    return [new.index(column) for column in old] if sorted(old) == sorted(new) else None


def _reordered(row: str, order: list[int]) -> str:
    """Return the text of a row, a composite value, with its fields in another order."""
    if order == sorted(order):
        return row
    fields = _FIELD.findall(row[1:-1])
    return f"({','.join(fields[position] for position in order)})"


def lost_rows(before: DatabaseState, first: DatabaseState, second: DatabaseState) -> Changes:
    """Return rows that the first upgrade kept and the second lost.

    Rows that an upgrade inserts may differ: they can contain a timestamp.
    """
    changes: Changes = []
    for table, rows in first.rows.items():
        now = second.rows.get(table, _NO_ROWS)
        if rows.digest == now.digest or rows.content is None or now.content is None:
            continue
        kept = Counter(rows.content) & Counter(before.rows.get(table, _NO_ROWS).content or ())
        order = _order_of_columns(first, second, table) or []
        lost = kept - Counter(_reordered(row, order) for row in now.content)
        changes += [(table, f"row of {table}", row, None) for row in lost.elements()]
        if not lost and len(rows.content) != len(now.content):
            counts = (f"{len(rows.content)} rows", f"{len(now.content)} rows")
            changes.append((table, f"rows of {table}", *counts))
    return changes
