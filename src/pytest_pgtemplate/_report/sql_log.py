"""``--pg-log-sql=failed``: a failing test shows the statements that it sent, through any engine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine, ExceptionContext

from pytest_pgtemplate._urls.redaction import redact_sql

MAX_STATEMENTS = 100  # statements of a test, the last ones
MAX_CHARACTERS = 300  # characters of a statement, or of its parameters

_STARTED = "pgtemplate_started"


class _Statement(NamedTuple):
    """What was sent, ``moment`` seconds after the test had begun, and what came of it."""

    moment: float
    sql: str
    parameters: object
    error: str
    took: str


class SqlLog:
    """A plugin: it listens to all of SQLAlchemy's engines, and shows what a failing test sent."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact  # what takes the run's own passwords out of a text
        self._statements: deque[_Statement] = deque(maxlen=MAX_STATEMENTS)
        self._sent = 0
        self._began = time.perf_counter()
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
        self._began = time.perf_counter()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed and self._statements:
            earlier = self._sent - len(self._statements)
            more = [f"({earlier} earlier ones are not shown)"] if earlier else []
            lines = map(self._line, self._statements)
            report.sections.append(("SQL", "\n".join([*more, *lines])))
        return report

    def _before(self, connection: Connection, *_: object) -> None:
        connection.info[_STARTED] = time.perf_counter()

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
        now = time.perf_counter()
        took = f"took {1000 * (now - started):.1f} ms{rows}" if started is not None else ""
        statement = _Statement(now - self._began, sql, parameters, error, took)
        self._statements.append(statement)
        self._sent += 1

    def _line(self, statement: _Statement) -> str:
        parameters = repr(statement.parameters) if statement.parameters else ""
        texts = (" ".join(statement.sql.split()), parameters, statement.error, statement.took)
        shown = (_shorten(self._redact(redact_sql(text))) for text in texts if text)
        return f"{1000 * statement.moment:9.1f} ms  {'  '.join(shown)}"


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}.."
