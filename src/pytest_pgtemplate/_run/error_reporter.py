"""How an error of ours becomes the failure of one test, and of no more: the others skip."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from pytest_pgtemplate._run.reported_errors import ReportedErrors
from pytest_pgtemplate.errors import PgTemplateError


class ErrorReporter:
    """What this process has met so far. What the whole run has reported is in ``failures``."""

    def __init__(self, failures: ReportedErrors) -> None:
        self.failures = failures
        self._broken: dict[str, PgTemplateError] = {}  # by the fixture's name
        self._raised: dict[BaseException, PgTemplateError] = {}

    @contextmanager
    def reported_once(self, fixture: str) -> Iterator[None]:
        """Turn errors of ``fixture`` into one pytest failure per run; everybody else skips."""
        try:
            yield
        except PgTemplateError as error:
            self.mark_broken(fixture, error)
            self.report(error)

    def mark_broken(self, fixture: str, error: PgTemplateError) -> None:
        """Let whoever needs ``fixture`` from now on skip."""
        self._broken[fixture] = error

    @contextmanager
    def reported_at_end(self, *, known: bool) -> Iterator[None]:
        """Fail with an error only when nobody knows of it yet: there may be many to end."""
        try:
            yield
        except PgTemplateError as error:
            if self.failures.claim(error) and not known:
                fail(error)

    @contextmanager
    def skip_repeated_failures(self) -> Iterator[None]:
        """Pytest raises the failure of a fixture again in every test that asks for the fixture."""
        before = dict(self._raised)
        try:
            yield
        except pytest.fail.Exception as failure:
            if failure in before:
                _skip(before[failure])
            raise

    def report(self, error: PgTemplateError) -> NoReturn:
        """Fail the present test if the run has not seen this error yet, else skip it."""
        if not self.failures.claim(error):
            _skip(error)
        failure = pytest.fail.Exception(str(error), pytrace=False)
        self._raised[failure] = error
        raise failure from None  # pytest would show what it comes from, too

    def skip_if_broken(self, fixtures: Collection[str]) -> None:
        """Skip a test that needs a fixture which failed."""
        for fixture, error in self._broken.items():
            if fixture in fixtures:
                _skip(error)


def fail(error: PgTemplateError) -> NoReturn:
    """Fail the present test with our message alone: no traceback, nothing that it came from."""
    raise pytest.fail.Exception(str(error), pytrace=False) from None


@contextmanager
def fails() -> Iterator[None]:
    """Turn our errors into failures of the present test."""
    try:
        yield
    except PgTemplateError as error:
        fail(error)


def _skip(error: PgTemplateError) -> NoReturn:
    first_line = error.message.partition("\n")[0]
    pytest.skip(f"no database: {first_line} (reported in full once)")
