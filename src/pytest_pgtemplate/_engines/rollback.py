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
from sqlalchemy.pool import ConnectionPoolEntry

from pytest_pgtemplate._engines.loop_pool import AFTER_RESET, execute_in_session
from pytest_pgtemplate._internals.sqlalchemy import override_transactions
from pytest_pgtemplate.errors import ConfigurationError

_SAVEPOINT = "pgtemplate"
LOCK_TIMEOUT = "5s"
_SET_LOCK_TIMEOUT = """
    SELECT set_config('lock_timeout', '{new}', false)
     WHERE current_setting('lock_timeout') = '{old}'
"""
_LOCK_NOT_AVAILABLE = "55P03"
_FAILED_TRANSACTION = "25P02"
_NOTE = (
    'HINT: with isolation="rollback", pg_session keeps its locks until the test ends, even after a'
    " commit, so another session of the same test cannot write to the same rows: use pg_session or"
    ' pg_connection for both, or isolate the test with "truncate"'
)


def nest_transactions(engine: Engine) -> None:
    """Turn every transaction of ``engine`` into a savepoint of one that is never committed.

    ``engine`` has a pool of ``pool``. If its connection is closed, the transaction is lost.
    """
    pool: Any = engine.pool
    pool.reconnects = False
    nested = _NestedTransactions()
    override_transactions(
        engine, nested.begin, nested.commit, nested.rollback, nested.refuse_isolation_level
    )
    event.listen(engine, "reset", nested.end)


class _NestedTransactions:
    """What the dialect does instead of BEGIN, COMMIT and ROLLBACK."""

    def __init__(self) -> None:
        # Ids of DBAPI connections: with the outer transaction, and with an active savepoint.
        self._in_transaction: set[int] = set()
        self._in_savepoint: set[int] = set()

    def begin(self, connection: Any) -> None:
        self._in_transaction.add(id(connection.dbapi_connection))
        _execute(connection, f"SAVEPOINT {_SAVEPOINT}")
        self._in_savepoint.add(id(connection.dbapi_connection))

    def commit(self, connection: Any) -> None:
        self._in_savepoint.remove(id(connection.dbapi_connection))
        try:
            _execute(connection, f"RELEASE SAVEPOINT {_SAVEPOINT}")
        except Exception as error:
            _execute(connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            if _sqlstate(error) != _FAILED_TRANSACTION:  # there, COMMIT rolls back without an error
                raise

    def rollback(self, connection: Any, original: Callable[[Any], None]) -> None:
        if id(connection.dbapi_connection) in self._in_savepoint:
            self._in_savepoint.remove(id(connection.dbapi_connection))
            _execute(connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        else:
            original(connection)

    def end(self, dbapi_connection: Any, _: Any, state: Any) -> None:
        self._in_savepoint.discard(id(dbapi_connection))
        self._in_transaction.discard(id(dbapi_connection))
        if state.asyncio_safe:
            dbapi_connection.rollback()

    def refuse_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        """Raise ConfigurationError if the outer transaction has begun, or could not begin."""
        if level == "AUTOCOMMIT":
            raise ConfigurationError(
                'isolation="rollback" rolls a transaction back, and AUTOCOMMIT has none',
                hint='isolate the test with "truncate"',
            )
        if id(dbapi_connection) in self._in_transaction:
            raise ConfigurationError(
                'with isolation="rollback", all transactions of a test are parts of one, which has'
                " one isolation level",
                hint='isolate the test with "truncate", or set the level with pg_engine_options',
            )


def limit_lock_waits(engine: Engine, limited: Callable[[], bool]) -> None:
    """While ``limited()``, end waits for locks after LOCK_TIMEOUT, and explain the error.

    The limit belongs to the session of a connection, because a connection in autocommit mode or
    without SQLAlchemy begins no transaction that it could belong to.
    """

    def update(connection: Any, info: dict[Any, Any]) -> None:
        if limited() and AFTER_RESET not in info:
            limit = _SET_LOCK_TIMEOUT.format(old="0", new=LOCK_TIMEOUT)
            execute_in_session(connection, limit)
            info[AFTER_RESET] = limit  # the next test is likely to roll back, too
        elif AFTER_RESET in info and not limited():
            execute_in_session(connection, _SET_LOCK_TIMEOUT.format(old=LOCK_TIMEOUT, new="0"))
            del info[AFTER_RESET]

    def checked_out(connection: Any, entry: ConnectionPoolEntry, _: Any) -> None:
        update(connection, entry.info)

    def begin(connection: Connection) -> None:  # a wide fixture may have checked it out
        update(connection.connection.dbapi_connection, connection.info)

    def explain(context: ExceptionContext) -> None:
        error, original = context.sqlalchemy_exception, context.original_exception
        if error is not None and limited() and _sqlstate(original) == _LOCK_NOT_AVAILABLE:
            error.add_note(_NOTE)

    event.listen(engine, "checkout", checked_out)
    event.listen(engine, "begin", begin)
    event.listen(engine, "handle_error", explain)


def lock_wait_hints(errors: list[BaseException]) -> list[str]:
    """Return the hint for errors of a driver that was used without SQLAlchemy."""
    if any(_NOTE in getattr(error, "__notes__", ()) for error in errors):
        return []
    return [_NOTE] if _LOCK_NOT_AVAILABLE in map(_sqlstate, errors) else []


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
