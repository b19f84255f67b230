"""In the child process: try a downgrade and a second upgrade, and roll both back.

The trial runs between two steps of Alembic, in one transaction with a savepoint for each part. So a
revision whose trial fails costs as much as any other, and nothing of it reaches the next revision.
"""

from __future__ import annotations

import ast
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from pytest_pgtemplate._internals.alembic import (
    AutocommitRefusedError,
    autocommit_refused,
    forget_created_types,
)

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

    from pytest_pgtemplate._child.catalog import DatabaseState

DOWN, AGAIN = "downgrade", "second upgrade"
_SAVEPOINT = "pgtemplate_trial"

# SQLSTATEs of errors that a shared transaction may cause: each part then runs in its own one.
_ONE_TRANSACTION = {
    "25001",  # active_sql_transaction, for example by CREATE INDEX CONCURRENTLY
    "55006",  # object_in_use: pending trigger events
    "55P04",  # unsafe_new_enum_value_usage
}


_NO_TRANSACTION = "25P01"
# DISCARD TEMP would also drop the plugin's functions.
_DROP_TEMPORARY_TABLES = """
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT oid::regclass FROM pg_class
                 WHERE relnamespace = pg_my_temp_schema() AND relkind IN ('r', 'p')
    LOOP
        EXECUTE 'DROP TABLE IF EXISTS ' || name || ' CASCADE';
    END LOOP;
END
$$
"""


class Failure(NamedTuple):
    """The error of a part. ``refused``: downgrade() raised it before any statement."""

    part: str
    error: BaseException
    refused: bool


class Trial:
    """The states after the downgrade and after the second upgrade, or why there are none."""

    def __init__(self, context: MigrationContext, read: Callable[[], DatabaseState]) -> None:
        self._context = context
        self._read = read
        self._statements = 0
        self.after: DatabaseState | None = None
        self.second: DatabaseState | None = None
        self.failure: Failure | None = None
        self.is_separate = False  # whether the parts need transactions of their own
        self.is_undone = True  # whether the database is as it was before

    def run(self, downgrade: Callable[[], None], upgrade: Callable[[], None]) -> None:
        connection: Any = self._context.connection
        nested = connection.in_transaction()
        transaction = connection.begin_nested() if nested else connection.begin()
        try:
            connection.exec_driver_sql(f"SAVEPOINT {_SAVEPOINT}")
        except DBAPIError as refused:
            transaction.rollback()
            if sqlstate(refused) != _NO_TRANSACTION:
                raise
            self.is_separate = True  # env.py has chosen AUTOCOMMIT
            return
        event.listen(connection, "before_cursor_execute", self._count)
        try:
            with autocommit_refused(self._context):
                self.after = self._run_part(DOWN, downgrade)
                if self.failure is None:
                    self.second = self._run_part(AGAIN, upgrade)
        finally:
            event.remove(connection, "before_cursor_execute", self._count)
            self.is_undone = transaction.is_active and self._is_savepoint_there()
            if transaction.is_active:
                transaction.rollback()
            if self.failure is not None and not isinstance(self.failure.error, Exception):
                raise self.failure.error
        error = self.failure.error if self.failure else None
        self.is_separate = (
            not self.is_undone
            or sqlstate(error) in _ONE_TRANSACTION
            or isinstance(error, AutocommitRefusedError)
        )

    def _run_part(self, part: str, migrate: Callable[[], None]) -> DatabaseState | None:
        connection: Any = self._context.connection
        self._statements = 0
        try:
            with connection.begin_nested():
                forget_created_types(self._context)
                # Alembic's commands have sessions of their own.
                connection.exec_driver_sql(_DROP_TEMPORARY_TABLES)
                self._statements = 0
                migrate()
                # What a commit would check; pending trigger events would refuse later DDL.
                connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
                connection.exec_driver_sql("SET CONSTRAINTS ALL DEFERRED")
            return self._read()
        except BaseException as error:
            refused = part == DOWN and self._statements == 0 and _raised_by("downgrade", error)
            self.failure = Failure(part, error, refused)
            return None

    def _is_savepoint_there(self) -> bool:
        """Go back to the beginning; False if the migration has committed by itself."""
        connection: Any = self._context.connection
        try:
            connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        except DBAPIError:
            return False
        return True

    def _count(self, _: Any, __: Any, statement: str, *___: Any) -> None:
        self._statements += not statement.startswith(("SAVEPOINT", "ROLLBACK TO", "RELEASE"))


def _raised_by(function: str, error: BaseException) -> bool:
    """Whether a function of this name has a ``raise`` statement that raised ``error``.

    An error of a function that it called, or of a wrong name, is a bug.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or frames[-1].name != function:
        return False
    with suppress(OSError, SyntaxError, ValueError):
        tree = ast.parse(Path(frames[-1].filename).read_bytes())
        line = frames[-1].lineno or 0
        return any(
            isinstance(node, ast.Raise) and node.lineno <= line <= (node.end_lineno or 0)
            for node in ast.walk(tree)
        )
    return False


def sqlstate(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of a SQLAlchemy error, for any driver, or None."""
    driver_error = getattr(error, "orig", None)
    for name in ("sqlstate", "pgcode"):
        if code := getattr(driver_error, name, None):
            return str(code)
    arguments = getattr(driver_error, "args", ())
    if arguments and isinstance(arguments[0], dict):  # pg8000
        return arguments[0].get("C")
    return None
