"""A run of pytest that makes templates and tests nothing: fixtures of the user's own count."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, TextIO

import pytest
from _pytest.runner import runtestprotocol

from pytest_pgtemplate._display.progress_line import duplicate_stream, progress_line_on
from pytest_pgtemplate._run import RUN, IsolatedDatabase
from pytest_pgtemplate._settings import Settings
from pytest_pgtemplate._template import Template
from pytest_pgtemplate.errors import ConfigurationError, TemplateError


@dataclass(frozen=True)
class BuiltTemplate:
    """A template, as pytest has it. ``how``: what was done, if anything was, in ``seconds``."""

    database: str
    template: Template
    settings: Settings
    how: str
    seconds: float


def build(arguments: Sequence[str]) -> list[BuiltTemplate]:
    """Run pytest with ``arguments`` as far as the first tests that need each database.

    How far that is, is shown on stderr; what pytest says is not.
    Raises TemplateError with what went wrong, and ConfigurationError when no test needs one.
    """
    alone = ["-n0"] if find_spec("xdist") else []
    with ExitStack() as stack:
        first = TemplateBuilder(duplicate_stream(sys.stderr, stack))
        output = stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(redirect_stderr(output))
        pytest.main([*arguments, *alone, "--continue-on-collection-errors"], plugins=[first])
    if first.failure:
        message, _, hint = first.failure.partition("\nHINT: ")
        raise TemplateError(message, hint=hint or "run pytest, which may say more")
    if first.built:
        return first.built
    raise ConfigurationError(
        f"pytest found no test that needs the database:\n{output.getvalue().strip()}",
        hint="run it where pytest finds the tests, or name them: pgtemplate build tests/db",
    )


class TemplateBuilder:
    """A pytest plugin: it ends the collection there, and sets up the templates for these tests."""

    def __init__(self, terminal: TextIO) -> None:
        self.built: list[BuiltTemplate] = []
        self._terminal = terminal  # which pytest shall not have
        self.failure = ""
        self._items: dict[
            Any, list[IsolatedDatabase]
        ] = {}  # the databases that it is the first to need
        self._missing: list[IsolatedDatabase] = []

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._missing += session.config.stash[RUN].databases.values()

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[RUN].progress.draw = partial(progress_line_on, self._terminal)

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> pytest.CollectReport | None:
        """Import no more than it takes."""
        if self._missing:
            return None
        return pytest.CollectReport(collector.nodeid, "passed", None, [])

    @pytest.hookimpl(trylast=True)
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        fixtures = {*getattr(item, "fixturenames", ())}
        for each in [*self._missing]:
            if fixtures & {each.fixture_name("pg"), each.fixture_name("pg_template")}:
                self._items.setdefault(item, []).append(each)
                self._missing.remove(each)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        for item, following in pairwise([*self._items, None]):
            item.fixturenames = [each.fixture_name("pg_template") for each in self._items[item]]
            item.runtest = partial(self._take, item)
            # Without a log: pytest --last-failed shall not take this for a run of the test.
            reports = runtestprotocol(item, log=False, nextitem=following)
            self.failure = "\n".join(each.longreprtext for each in reports if each.failed)
            if self.failure:
                break
        return True

    def _take(self, item: Any) -> None:
        for each in self._items[item]:
            template, stats = item.funcargs[each.fixture_name("pg_template")], each.stats
            built = BuiltTemplate(
                each.name, template, each.settings, stats.built, stats.template_time
            )
            self.built.append(built)
