"""A run of pytest that makes the template and tests nothing: fixtures of the user's own count."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, TextIO

import pytest
from _pytest.runner import runtestprotocol

from pytest_pgtemplate._run import RUN, draw_on, duplicate
from pytest_pgtemplate._settings import Settings
from pytest_pgtemplate._template import Template
from pytest_pgtemplate.errors import ConfigurationError, TemplateError


@dataclass(frozen=True)
class Built:
    """The template, as pytest has it. ``how``: what was done, if anything was, in ``seconds``."""

    template: Template
    settings: Settings
    how: str
    seconds: float


def build(arguments: Sequence[str]) -> Built:
    """Run pytest with ``arguments`` as far as its first test that needs the template.

    How far that is, is shown on stderr; what pytest says is not.
    Raises TemplateError with what went wrong, and ConfigurationError when no test needs it.
    """
    alone = ["-n0"] if find_spec("xdist") else []
    with ExitStack() as stack:
        first = _FirstTest(duplicate(sys.stderr, stack))
        output = stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(redirect_stderr(output))
        pytest.main([*arguments, *alone, "--continue-on-collection-errors"], plugins=[first])
    if first.built is not None:
        return first.built
    if first.failure:
        message, _, hint = first.failure.partition("\nHINT: ")
        raise TemplateError(message, hint=hint or "run pytest, which may say more")
    raise ConfigurationError(
        f"pytest found no test that needs the database:\n{output.getvalue().strip()}",
        hint="run it where pytest finds the tests, or name them: pgtemplate build tests/db",
    )


class _FirstTest:
    """A pytest plugin: it ends the collection there, and sets up the template for this test."""

    def __init__(self, terminal: TextIO) -> None:
        self.built: Built | None = None
        self._terminal = terminal  # which pytest shall not have
        self.failure = ""
        self._item: pytest.Item | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[RUN].progress.draw = partial(draw_on, self._terminal)

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> pytest.CollectReport | None:
        """Import no more than it takes."""
        if self._item is None:
            return None
        return pytest.CollectReport(collector.nodeid, "passed", None, [])

    @pytest.hookimpl(trylast=True)
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        if self._item is None and {"pg", "pg_template"} & set(getattr(item, "fixturenames", ())):
            self._item = item

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        item: Any = self._item
        if item is not None:
            item.fixturenames = ["pg_template"]
            item.runtest = partial(self._take, item)
            # Without a log: pytest --last-failed shall not take this for a run of the test.
            reports = runtestprotocol(item, log=False, nextitem=None)
            self.failure = "\n".join(each.longreprtext for each in reports if each.failed)
        return True

    def _take(self, item: Any) -> None:
        run = item.config.stash[RUN]
        template: Template = item.funcargs["pg_template"]
        stats = run.main.stats
        self.built = Built(template, run.settings, stats.built, stats.template_time)
