"""Run pytest only to build the templates, so that the user's overrides of fixtures apply."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, TextIO

import pytest

from pytest_pgtemplate._display.progress_line import duplicate_stream, progress_line_on
from pytest_pgtemplate._fixtures import preparation
from pytest_pgtemplate._internals.pytest import run_without_report
from pytest_pgtemplate._run import RUN
from pytest_pgtemplate._run.isolated_database import IsolatedDatabase
from pytest_pgtemplate._settings import Settings
from pytest_pgtemplate._template import Template
from pytest_pgtemplate.errors import ConfigurationError, TemplateError

_NO_WORKERS = {"numprocesses": 0, "dist": "no", "distload": False, "tx": [], "looponfail": False}


@dataclass(frozen=True)
class BuiltTemplate:
    """A template from a pytest run. ``how``: how it was built (in ``seconds``); "": it existed."""

    database: str
    template: Template
    settings: Settings
    how: str
    seconds: float


def build(arguments: Sequence[str]) -> list[BuiltTemplate]:
    """Run pytest with ``arguments`` up to the first test that needs each database.

    Shows the progress on stderr, without pytest's output. Raises TemplateError if a build fails,
    and ConfigurationError if no test needs a database.
    """
    with ExitStack() as stack:
        builder = TemplateBuilder(duplicate_stream(sys.stderr, stack))
        output = stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(redirect_stderr(output))
        pytest.main([*arguments, "--continue-on-collection-errors"], plugins=[builder])
    if builder.failure:
        message, _, hint = builder.failure.partition("\nHINT: ")
        raise TemplateError(message, hint=hint or "run pytest for the whole output")
    if builder.built:
        return builder.built
    raise ConfigurationError(
        f"pytest found no test that needs the database:\n{output.getvalue().strip()}",
        hint="run it where pytest finds the tests, or pass them: pgtemplate build tests/db",
    )


class TemplateBuilder:
    """A pytest plugin: collects one test per database, and sets up only its template."""

    def __init__(self, terminal: TextIO) -> None:
        self.built: list[BuiltTemplate] = []
        self._terminal = terminal  # the real stderr, for the progress line
        self.failure = ""
        self._items: dict[Any, list[IsolatedDatabase]] = {}  # test -> databases it needs first
        self._missing: list[IsolatedDatabase] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Use no workers, as with ``-n0``, which pytest does not know without xdist."""
        for name, value in _NO_WORKERS.items():
            if hasattr(config.option, name):
                setattr(config.option, name, value)

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        # No test runs, so a mark that skips one does not matter.
        session.config.pluginmanager.unregister(name="skipping")
        self._missing += session.config.stash[RUN].load_databases().values()

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[RUN].progress.draw = partial(progress_line_on, self._terminal)
        config.pluginmanager.set_blocked(preparation.PLUGIN)  # it would also clone

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> pytest.CollectReport | None:
        """Collect nothing more when there is a test for each database."""
        if self._missing:
            return None
        return pytest.CollectReport(collector.nodeid, "passed", None, [])

    @pytest.hookimpl(trylast=True)
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        fixtures = {*getattr(item, "fixturenames", ())}
        for database in [*self._missing]:
            if fixtures & {database.fixture_name("pg"), database.fixture_name("pg_template")}:
                self._items.setdefault(item, []).append(database)
                self._missing.remove(database)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        for item, following in pairwise([*self._items, None]):
            item.fixturenames = [db.fixture_name("pg_template") for db in self._items[item]]
            item.runtest = partial(self._record, item)
            # The hook, so that the wrappers of other plugins prepare the test (pytest-retry).
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failure:
                break
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        reports = run_without_report(item, nextitem)
        self.failure = "\n".join(report.longreprtext for report in reports if report.failed)
        recorded = {template.database for template in self.built}
        if not self.failure and not recorded.issuperset(db.name for db in self._items[item]):
            self.failure = (
                f"{item.nodeid}, the first test that needs the database, was skipped"
                "\nHINT: pass other tests: pgtemplate build tests/db"
            )
        return True

    def _record(self, item: Any) -> None:
        for db in self._items[item]:
            template = item.funcargs[db.fixture_name("pg_template")]
            how, seconds = db.stats.built, db.stats.template_time
            self.built.append(BuiltTemplate(db.name, template, db.settings, how, seconds))
