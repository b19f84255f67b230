"""``--pg-log-sql=failed``: show the SQL statements of failed tests, of all SQLAlchemy engines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine, ExceptionContext

from pytest_pgtemplate._internals import clocks
from pytest_pgtemplate._urls.redaction import redact_sql

MAX_STATEMENTS = 100  # the last statements of a test
MAX_CHARACTERS = 300  # of a statement, or of its parameters

_STARTED = "pgtemplate_started"  # in ``info`` of a connection: when it sent its statement


class _Statement(NamedTuple):
    """A statement, sent ``moment`` seconds after the start of the test, and its outcome."""

    moment: float
    sql: str
    parameters: object
    error: str
    took: str


class SqlLog:
    """A pytest plugin that listens to all SQLAlchemy engines."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact  # hides the passwords of this run
        self._statements: deque[_Statement] = deque(maxlen=MAX_STATEMENTS)
        self._sent = 0
        self._began = clocks.monotonic()
        self._listeners: dict[str, Callable[..., Any]] = {
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
            "handle_error": self._failed,
            "begin": lambda _: self._record("BEGIN"),
            "commit": lambda _: self._record("COMMIT"),
            "rollback": lambda _: self._record("ROLLBACK"),
        }
        for name, listener in self._listeners.items():
            event.listen(Engine, name, listener)

    def pytest_unconfigure(self) -> None:
        for name, listener in self._listeners.items():
            event.remove(Engine, name, listener)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._statements.clear()
        self._sent = 0
        self._began = clocks.monotonic()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed and self._statements:
            earlier = self._sent - len(self._statements)
            more = [f"({earlier} earlier statements are not shown)"] if earlier else []
            lines = map(self._line, self._statements)
            report.sections.append(("SQL", "\n".join([*more, *lines])))
        return report

    def _before(self, connection: Connection, *_: object) -> None:
        connection.info[_STARTED] = clocks.monotonic()

    def _after(
        self, connection: Connection, cursor: Any, sql: str, parameters: Any, *_: object
    ) -> None:
        rows = f", {cursor.rowcount} rows" if cursor.rowcount >= 0 else ""
        self._record(sql, parameters, connection.info.pop(_STARTED, None), rows=rows)

    def _failed(self, context: ExceptionContext) -> None:
        error = f"-- {context.original_exception}".partition("\n")[0]
        started = context.connection.info.pop(_STARTED, None) if context.connection else None
        self._record(context.statement or "", context.parameters, started, error=error)

    def _record(
        self,
        sql: str,
        parameters: object = None,
        started: float | None = None,
        *,
        rows: str = "",
        error: str = "",
    ) -> None:
        now = clocks.monotonic()
        took = f"took {1000 * (now - started):.1f} ms{rows}" if started is not None else ""
        statement = _Statement(now - self._began, sql, parameters, error, took)
        self._statements.append(statement)
        self._sent += 1

    def _line(self, statement: _Statement) -> str:
        parameters = repr(statement.parameters) if statement.parameters else ""
        texts = (" ".join(statement.sql.split()), parameters, statement.error, statement.took)
        parts = (_shorten(self._redact(redact_sql(text))) for text in texts if text)
        return f"{1000 * statement.moment:9.1f} ms  {'  '.join(parts)}"


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}.."
