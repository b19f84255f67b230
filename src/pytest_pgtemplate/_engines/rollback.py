"""``isolation="rollback"``: one outer transaction, in which the application may commit.

Each transaction of the application becomes a savepoint. The outer transaction is rolled back when
the connection returns to its pool. This happens in the dialect, below Session and Connection, so it
works for both, sync and async.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from pytest_pgtemplate._internals.sqlalchemy import override_transactions

_SAVEPOINT = "pgtemplate"
_LOCK_TIMEOUT = """
    SELECT set_config('lock_timeout', '5s', true) WHERE current_setting('lock_timeout') = '0'
"""
_LOCK_NOT_AVAILABLE = "55P03"
_NOTE = (
    'HINT: with isolation="rollback", pg_session keeps its locks until the test ends, even after a'
    " commit, so another session of the same test cannot write to the same rows: use pg_session or"
    ' pg_connection for both, or isolate the test with "truncate"'
)


def nest_transactions(engine: Engine) -> None:
    """Turn every transaction of ``engine`` into a savepoint of one that is never committed."""
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


def limit_lock_waits(engine: Engine) -> None:
    """End waits for a lock of the same test after 5 seconds, with an error that explains them."""

    def begin(connection: Connection) -> None:
        _execute(connection.connection, _LOCK_TIMEOUT)  # listeners of the test do not see it

    def explain(context: ExceptionContext) -> None:
        error, original = context.sqlalchemy_exception, context.original_exception
        if error is not None and _sqlstate(original) == _LOCK_NOT_AVAILABLE:
            error.add_note(_NOTE)

    event.listen(engine, "begin", begin)
    event.listen(engine, "handle_error", explain)


def _sqlstate(error: Any) -> str | None:
    for name in ("sqlstate", "pgcode"):
        if code := getattr(error, name, None):
            return str(code)
    details = error.args[0] if error.args else None
    return details.get("C") if isinstance(details, dict) else None  # pg8000


def _execute(connection: Any, statement: str) -> None:
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()
