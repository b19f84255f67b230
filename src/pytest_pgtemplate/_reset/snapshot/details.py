"""Read the objects and rows behind the differences of two states, and compare their text."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from pytest_pgtemplate._reset.snapshot.changes import Change
from pytest_pgtemplate._reset.snapshot.expected import Difference
from pytest_pgtemplate._reset.snapshot.objects import (
    Objects,
    object_changes,
    object_functions,
    read_objects,
)
from pytest_pgtemplate._reset.snapshot.state import Key, Line
from pytest_pgtemplate._server import Connection

Texts = Counter[tuple[str, str]]  # (name, definition); equal rows count more than once

_CATALOG_ROWS = "SELECT object, definition FROM pg_temp.pgtemplate_catalog_rows({oids})"
_ROWS = """
SELECT 'row of ' || relation, unnest(content)
  FROM pg_temp.pgtemplate_rows(ARRAY(
       SELECT oid FROM pg_class WHERE oid = ANY ({oids}) AND has_table_privilege(oid, 'SELECT')))
"""
_LARGE_OBJECTS = """
SELECT 'large object ' || oid,
       concat_ws(' ', 'OWNER', lomowner::regrole, 'PRIVILEGES ' || lomacl::text,
                 length(body), 'bytes', md5(body),
                 'COMMENT ' || quote_literal(obj_description(oid, 'pg_largeobject')))
  FROM pg_largeobject_metadata
 CROSS JOIN pg_temp.pgtemplate_large_object(oid, lomowner, lomacl) AS body
 WHERE oid = ANY ({oids})
"""


@dataclass
class Details:
    """The text of one side of the differences."""

    objects: Objects = field(default_factory=dict)
    catalog_rows: Texts = field(default_factory=Counter)  # as JSON
    contents: Texts = field(default_factory=Counter)  # rows of tables, and large objects


async def read_details(connection: Connection, differences: Collection[Difference]) -> Details:
    """Read the text behind ``differences``. The session must be able to read states."""
    oids: dict[str, list[int]] = defaultdict(list)
    for kind, oid in (each.key for each in differences):
        oids[kind].append(oid)
    await connection.execute("\n".join(object_functions()))
    details = Details()
    if oids["catalog"]:
        details.objects = await read_objects(connection)
        details.catalog_rows = await _read_texts(connection, _CATALOG_ROWS, oids["catalog"])
    rows = await _read_texts(connection, _ROWS, oids["rows"] + oids["bookkeeping"])
    objects = await _read_texts(connection, _LARGE_OBJECTS, oids["large object"])
    details.contents = rows + objects
    return details


async def _read_texts(connection: Connection, query: str, oids: list[int]) -> Texts:
    if not oids:
        return Counter()
    array = f"'{{{', '.join(map(str, oids))}}}'::oid[]"
    return Counter(tuple(row) for row in await connection.fetch(query.format(oids=array)))


def changes_between(
    expected: Details, actual: Details, differences: Collection[Difference]
) -> list[Change]:
    """Return every difference as text: objects first, then rows, then mere numbers."""
    objects = object_changes(expected.objects, actual.objects)
    rows = [] if objects else list(_text_changes(expected.catalog_rows, actual.catalog_rows))
    contents = list(_text_changes(expected.contents, actual.contents))
    named = {name for _, name, *_ in contents}
    rest = [
        _number_change(each)
        for each in differences
        if (each.key[0] != "catalog" or not (objects or rows)) and _text_name(each) not in named
    ]
    return [*objects, *rows, *contents, *rest]


def _text_changes(expected: Texts, actual: Texts) -> Iterator[Change]:
    """Yield removed and added texts; one change if one of each has the same name."""
    removed, added = _by_name(expected - actual), _by_name(actual - expected)
    for name in sorted(removed.keys() | added.keys()):
        table = _table(name)
        old, new = removed.get(name, []), added.get(name, [])
        if len(old) == len(new) == 1:
            yield (table, name, *_without_equal_columns(old[0], new[0]))
        else:
            yield from ((table, name, text, None) for text in old)
            yield from ((table, name, None, text) for text in new)


def _table(name: str) -> str | None:
    """Return the table in the name of a row or column, or None."""
    return name.partition(" of ")[2] or None


def _by_name(texts: Texts) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, text in texts.elements():
        found[name].append(text)
    return found


def _without_equal_columns(old: str, new: str) -> tuple[str, str]:
    """Return only the columns in which two versions of a catalog row differ."""
    if not (old.startswith("{") and new.startswith("{")):
        return old, new
    before, after = json.loads(old), json.loads(new)
    columns = [name for name in before if before[name] != after.get(name)]
    shown = ({name: row.get(name) for name in columns} for row in (before, after))
    old, new = (json.dumps(row, ensure_ascii=False) for row in shown)
    return old, new


def _number_change(difference: Difference) -> Change:
    before, after = (_words(difference.key, each) for each in difference[1:])
    name = _name(difference)
    return (_table(name), name, before, "others" if before == after else after)


def _name(difference: Difference) -> str:
    line = difference.actual or difference.expected
    assert line is not None
    return line.name


def _text_name(difference: Difference) -> str:
    """Return the name that the texts of this difference have."""
    return _name(difference).replace("rows of ", "row of ", 1)


def _words(key: Key, line: Line | None) -> str | None:
    if line is None:
        return None
    if key[0] == "sequence":
        return f"{line.number}, {'' if line.digest else 'not '}called"
    return f"{line.number} rows"
