"""What a whole database holds, as text; the functions in SQL that tell it."""

from __future__ import annotations

from functools import cache

from sqlalchemy.engine import URL

from pytest_pgtemplate._check.verdicts import Change
from pytest_pgtemplate._server import connect, explain, load_sql, portal

ALL = """
SELECT part_of, object, definition FROM pg_temp.pgtemplate_objects(ARRAY(
    SELECT split_part(line, ' ', 2)::oid
      FROM regexp_split_to_table(pg_temp.pgtemplate_versions(false), chr(10)) AS line))
"""


@cache
def functions() -> list[str]:
    names = ("privileges", "versions", "objects", "rows")
    return [load_sql("_check", name) for name in names]


def difference(before: URL, after: URL, *, timeout: float) -> list[Change]:
    """The objects that two databases do not have in common. Raises ServerError."""
    old, new = _objects(before, timeout), _objects(after, timeout)
    return [
        (part_of, name, old.get((part_of, name)), new.get((part_of, name)))
        for part_of, name in sorted(old.keys() | new.keys(), key=lambda key: key[1])
        if old.get((part_of, name)) != new.get((part_of, name))
    ]


def _objects(url: URL, timeout: float) -> dict[tuple[str | None, str], str]:
    try:
        return portal.run(_read(url, timeout), timeout=timeout)
    except Exception as error:
        raise explain(error, url) from error


async def _read(url: URL, timeout: float) -> dict[tuple[str | None, str], str]:
    connection = await connect(url, timeout=timeout, application="pytest-pgtemplate check")
    try:
        for function in functions():
            await connection.execute(function)
        rows = await connection.fetch(ALL)
        return {(row["part_of"], row["object"]): row["definition"] for row in rows}
    finally:
        await connection.close()
