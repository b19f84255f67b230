"""``--pg-log-sql=failed``: a failing test shows the statements that it sent, through any engine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine, ExceptionContext

MOST = 100  # statements of a test, the last ones
LONGEST = 300  # characters of a statement, or of its parameters

_STARTED = "pgtemplate_started"


class SqlLog:
    """A plugin: it listens to all of SQLAlchemy's engines, and shows what a failing test sent."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MOST)
        self._sent = 0
        self._began = time.perf_counter()
        self._listeners: dict[str, Callable[..., Any]] = {
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
            "handle_error": self._failed,
            "begin": lambda _: self._note("BEGIN"),
            "commit": lambda _: self._note("COMMIT"),
            "rollback": lambda _: self._note("ROLLBACK"),
        }
        for name, listener in self._listeners.items():
            event.listen(Engine, name, listener)

    def pytest_unconfigure(self) -> None:
        for name, listener in self._listeners.items():
            event.remove(Engine, name, listener)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._lines.clear()
        self._sent = 0
        self._began = time.perf_counter()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed and self._lines:
            earlier = self._sent - len(self._lines)
            more = [f"({earlier} earlier ones are not shown)"] if earlier else []
            report.sections.append(("SQL", "\n".join([*more, *self._lines])))
        return report

    def _before(self, connection: Connection, *_: object) -> None:
        connection.info[_STARTED] = time.perf_counter()

    def _after(
        self, connection: Connection, cursor: Any, sql: str, parameters: Any, *_: object
    ) -> None:
        rows = f", {cursor.rowcount} rows" if cursor.rowcount >= 0 else ""
        self._note(_with(sql, parameters), connection.info.pop(_STARTED, None), rows)

    def _failed(self, context: ExceptionContext) -> None:
        error = str(context.original_exception).partition("\n")[0]
        started = context.connection.info.pop(_STARTED, None) if context.connection else None
        self._note(f"{_with(context.statement or '', context.parameters)}  -- {error}", started)

    def _note(self, sql: str, started: float | None = None, rows: str = "") -> None:
        now = time.perf_counter()
        took = f"took {1000 * (now - started):.1f} ms{rows}" if started is not None else ""
        self._lines.append(f"{1000 * (now - self._began):9.1f} ms  {sql}  {took}".rstrip())
        self._sent += 1


def _with(sql: str, parameters: object) -> str:
    return f"{_cut(' '.join(sql.split()))}{'  ' + _cut(repr(parameters)) if parameters else ''}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}.."
