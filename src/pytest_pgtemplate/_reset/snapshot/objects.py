"""Read the definitions of all objects of a database as text, similar to ``pg_dump``."""

from __future__ import annotations

from functools import cache

from sqlalchemy.engine import URL

from pytest_pgtemplate._reset.snapshot.changes import Change
from pytest_pgtemplate._server import Connection, connect, explain, load_sql, portal

Objects = dict[tuple[str | None, str], str]  # (container, name) -> definition

_ALL = """
SELECT part_of, object, definition FROM pg_temp.pgtemplate_objects(ARRAY(
    SELECT split_part(line, ' ', 2)::oid
      FROM regexp_split_to_table(pg_temp.pgtemplate_versions(false), chr(10)) AS line))
"""


@cache
def object_functions() -> list[str]:
    """Return the temporary functions with which a session reads objects and rows.

    Each is one statement: some drivers cannot execute several at once.
    """
    names = (
        *("privileges", "relations", "columns", "table_parts", "types", "functions"),
        *("other_schema_objects", "objects_outside_schemas", "objects"),
        *("relation_versions", "object_versions", "row_versions", "versions", "rows"),
    )
    return [load_sql("_reset.snapshot", name) for name in names]


async def read_objects(connection: Connection) -> Objects:
    """Read all objects. The session must have the functions above."""
    rows = await connection.fetch(_ALL)
    return {(row["part_of"], row["object"]): row["definition"] for row in rows}


def object_changes(old: Objects, new: Objects) -> list[Change]:
    return [
        (part_of, name, old.get((part_of, name)), new.get((part_of, name)))
        for part_of, name in sorted(old.keys() | new.keys(), key=lambda key: key[1])
        if old.get((part_of, name)) != new.get((part_of, name))
    ]


def compare_databases(before: URL, after: URL, *, timeout: float) -> list[Change]:
    """Return the objects that differ between two databases. Raises ServerError."""
    return object_changes(_objects_of(before, timeout), _objects_of(after, timeout))


def _objects_of(url: URL, timeout: float) -> Objects:
    try:
        return portal.run(_connect_and_read(url, timeout), timeout=timeout)
    except Exception as error:
        raise explain(error, url) from error


async def _connect_and_read(url: URL, timeout: float) -> Objects:
    connection = await connect(url, timeout=timeout, application="pytest-pgtemplate check")
    try:
        await connection.execute("\n".join(object_functions()))
        return await read_objects(connection)
    finally:
        await connection.close()
