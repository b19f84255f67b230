"""In the child process: try a downgrade and a second upgrade, and roll both back.

The trial runs between two steps of Alembic, in one transaction with a savepoint for each part. So a
revision whose trial fails costs as much as any other, and nothing of it reaches the next revision.
"""

from __future__ import annotations

import ast
import sys
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


_LIBRARIES = {*sys.stdlib_module_names, "alembic", "sqlalchemy"}
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
    """The error of a part."""

    part: str
    error: BaseException


class StatementCounter:
    """Counts the statements of a migration, without those of the savepoints around it."""

    def __init__(self, connection: Any) -> None:
        self.count = 0
        event.listen(connection, "before_cursor_execute", self._add)

    def _add(self, _: Any, __: Any, statement: str, *___: Any) -> None:
        self.count += not statement.startswith(("SAVEPOINT", "ROLLBACK TO", "RELEASE"))


class Trial:
    """The states after the downgrade and after the second upgrade, or why there are none."""

    def __init__(
        self,
        context: MigrationContext,
        read: Callable[[], DatabaseState],
        statements: StatementCounter,
    ) -> None:
        self._context = context
        self._read = read
        self._statements = statements
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
        try:
            with autocommit_refused(self._context):
                self.after = self._run_part(DOWN, downgrade)
                if self.failure is None:
                    self.second = self._run_part(AGAIN, upgrade)
        finally:
            self.is_undone = transaction.is_active and self._is_savepoint_there()
            if transaction.is_active:
                transaction.rollback()
        error = self.failure.error if self.failure else None
        self.is_separate = (
            not self.is_undone
            or sqlstate(error) in _ONE_TRANSACTION
            or isinstance(error, AutocommitRefusedError)
        )

    def _run_part(self, part: str, migrate: Callable[[], None]) -> DatabaseState | None:
        connection: Any = self._context.connection
        try:
            with connection.begin_nested():
                forget_created_types(self._context)
                # Alembic's commands have sessions of their own.
                connection.exec_driver_sql(_DROP_TEMPORARY_TABLES)
                self._statements.count = 0
                migrate()
                # What a commit would check; pending trigger events would refuse later DDL.
                connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
                connection.exec_driver_sql("SET CONSTRAINTS ALL DEFERRED")
            return self._read()
        except (Exception, SystemExit) as error:
            self.failure = Failure(part, error)
            return None

    def _is_savepoint_there(self) -> bool:
        """Go back to the beginning; False if the migration has committed by itself."""
        connection: Any = self._context.connection
        try:
            connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        except DBAPIError:
            return False
        return True


def is_deliberate(error: BaseException) -> bool:
    """Whether the user's code has raised ``error`` itself: by ``raise``, ``assert`` or an exit.

    An error of a wrong name or value, or of a function of a library, is a bug.
    """
    if isinstance(error, SystemExit):
        return True
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    if str(frame.f_globals.get("__name__")).partition(".")[0] in _LIBRARIES:
        return False
    with suppress(OSError, SyntaxError, ValueError):
        nodes = ast.walk(ast.parse(Path(frame.f_code.co_filename).read_bytes()))
        raising = (node for node in nodes if isinstance(node, ast.Raise | ast.Assert))
        return any(node.lineno <= line <= (node.end_lineno or 0) for node in raising)
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
