"""``isolation="rollback"``: one outer transaction, in which the application may commit.

Each transaction of the application becomes a savepoint. The outer transaction is rolled back when
the connection returns to its pool. This happens in the dialect, below Session and Connection, so it
works for both, sync and async.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event

from pytest_pgtemplate._internals.sqlalchemy import override_transactions

_SAVEPOINT = "pgtemplate"


def nest_transactions(engine: Engine) -> None:
    """Turn every transaction of ``engine`` into a savepoint in one that is never committed."""
    in_savepoint: set[int] = set()  # ids of DBAPI connections with an active savepoint

    def begin(connection: Any) -> None:
        _execute(connection, f"SAVEPOINT {_SAVEPOINT}")
        in_savepoint.add(id(connection.dbapi_connection))

    def commit(connection: Any) -> None:
        in_savepoint.remove(id(connection.dbapi_connection))
        _execute(connection, f"RELEASE SAVEPOINT {_SAVEPOINT}")

    def rollback(connection: Any, original: Callable[[Any], None]) -> None:
        if id(connection.dbapi_connection) in in_savepoint:
            in_savepoint.remove(id(connection.dbapi_connection))
            _execute(connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        else:
            original(connection)

    def end(dbapi_connection: Any, _: Any, state: Any) -> None:
        in_savepoint.discard(id(dbapi_connection))
        if state.asyncio_safe:
            dbapi_connection.rollback()

    override_transactions(engine, begin, commit, rollback)
    event.listen(engine, "reset", end)


def _execute(connection: Any, statement: str) -> None:
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()
