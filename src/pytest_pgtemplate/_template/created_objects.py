"""Count the objects of a database, to notice migrations that have created none in it."""

from __future__ import annotations

from pytest_pgtemplate._server import connect, explain, load_sql, portal
from pytest_pgtemplate._template.target import APPLICATION, Target


def count_objects(target: Target) -> int:
    """Return the number of relations, functions, types, schemas and extensions.

    Raises ServerError.
    """
    try:
        return portal.run(_count(target), timeout=target.timeout)
    except Exception as error:
        raise explain(error, target.url) from error


async def _count(target: Target) -> int:
    connection = await connect(target.url, timeout=target.timeout, application=APPLICATION)
    try:
        count: int = await connection.fetchval(load_sql("_template", "count_objects"))
        return count
    finally:
        await connection.close()
