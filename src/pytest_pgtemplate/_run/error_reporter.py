"""Turn each PgTemplateError into the failure of one test per run; the other tests skip."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from pytest_pgtemplate._run.reported_errors import ReportedErrors
from pytest_pgtemplate.errors import PgTemplateError


class ErrorReporter:
    """The errors of this process. ``failures``: the errors that the whole run has reported."""

    def __init__(self, failures: ReportedErrors) -> None:
        self.failures = failures
        self._broken: dict[str, PgTemplateError] = {}  # name of a fixture -> its error
        self._raised: dict[BaseException, PgTemplateError] = {}

    @contextmanager
    def reported_once(self, fixture: str) -> Iterator[None]:
        """Turn errors of ``fixture`` into one pytest failure per run; other tests skip."""
        try:
            yield
        except PgTemplateError as error:
            self.mark_broken(fixture, error)
            self.report(error)

    def mark_broken(self, fixture: str, error: PgTemplateError) -> None:
        """Skip every further test that needs ``fixture``."""
        self._broken[fixture] = error

    @contextmanager
    def reported_at_end(self, *, known: bool) -> Iterator[None]:
        """Fail with an error that is not ``known`` and that no worker has reported yet."""
        try:
            yield
        except PgTemplateError as error:
            if self.failures.claim(error) and not known:
                fail(error)

    @contextmanager
    def skip_repeated_failures(self) -> Iterator[None]:
        """Skip a test that fails only because pytest raises the cached failure of a fixture."""
        before = dict(self._raised)
        try:
            yield
        except pytest.fail.Exception as failure:
            if failure in before:
                _skip(before[failure])
            raise

    def report(self, error: PgTemplateError) -> NoReturn:
        """Fail the current test if no worker has reported this error yet; else skip it."""
        if not self.failures.claim(error):
            _skip(error)
        failure = pytest.fail.Exception(str(error), pytrace=False)
        self._raised[failure] = error
        raise failure from None  # otherwise pytest would also show the original traceback

    def skip_if_broken(self, fixtures: Collection[str]) -> None:
        """Skip a test that needs a fixture that has failed."""
        for fixture, error in self._broken.items():
            if fixture in fixtures:
                _skip(error)


def report_teardown_errors(item: pytest.Item, errors: Iterable[PgTemplateError]) -> None:
    """Report errors of a test whose teardown ran in another process, so that it cannot fail."""
    if text := "\n".join(map(str, errors)):
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "teardown")
        item.ihook.pytest_runtest_logreport(report=report)


def fail(error: PgTemplateError) -> NoReturn:
    """Fail the current test with the message only, without a traceback."""
    raise pytest.fail.Exception(str(error), pytrace=False) from None


@contextmanager
def fails() -> Iterator[None]:
    """Turn a PgTemplateError into a failure of the current test."""
    try:
        yield
    except PgTemplateError as error:
        fail(error)


def _skip(error: PgTemplateError) -> NoReturn:
    first_line = error.message.partition("\n")[0]
    pytest.skip(f"no database: {first_line} (reported in full once)")
