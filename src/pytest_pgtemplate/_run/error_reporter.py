"""Decide whether a test fails with a PgTemplateError or skips because of it.

A test skips only if a failed test report of this run shows the error in full. A report may become
an expected failure, a rerun may replace it, and it never arrives if its worker crashes. So each
process records which of its reports show which errors, and which errors have to be shown. The
records travel with the reports. At the end of the run, the process that has all reports adds an
error for each one that no failed report shows.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import pytest

from pytest_pgtemplate._run.reported_errors import ReportedErrors, digest
from pytest_pgtemplate.errors import (
    ConfigurationError,
    LeakError,
    PgTemplateError,
    SchemaChangedError,
)

_SHOWS, _OWES = "pgtemplate_shows", "pgtemplate_owes"  # attributes of reports, sent by xdist
_OWN_FAULTS = (LeakError, SchemaChangedError)  # of one test, which may be expected to fail


class ErrorReporter:
    """The errors of this process. ``failures``: the errors that the workers of the run claim.

    As a plugin of pytest, it receives the reports; in the controller, those of all workers.
    """

    def __init__(self, failures: ReportedErrors) -> None:
        self.failures = failures
        self._broken: dict[str, PgTemplateError] = {}  # name of a fixture -> its error
        # The failures that pytest may raise again, by their id: not every exception has a hash.
        self._raised: dict[int, tuple[BaseException, list[PgTemplateError]]] = {}
        self._owed: dict[str, str] = {}  # digest -> text; sent with the next report
        self._owed_reports: dict[str, tuple[str, pytest.TestReport]] = {}  # received with a report
        self._shown: set[str] = set()  # digests of the errors that failed reports show
        # The longrepr of the last failure, and the digests of the errors that it shows.
        self._last_failure: tuple[object, list[str]] = (None, [])

    @contextmanager
    def reported_once(self, fixture: str) -> Iterator[None]:
        """Turn errors of ``fixture`` into one pytest failure per run; other tests skip."""
        try:
            yield
        except PgTemplateError as error:
            self._broken[fixture] = error
            self.fail_or_skip(error)
        except Exception as error:
            blocked = explain_blocked_socket(error)
            if blocked is None:
                raise
            self._broken[fixture] = blocked
            self.fail_or_skip(blocked)

    @contextmanager
    def reported_at_end(self, *, known: bool) -> Iterator[None]:
        """Fail with an error that is not ``known`` and that no worker has reported yet."""
        try:
            yield
        except PgTemplateError as error:
            if not known and self._is_ours_to_show(error):
                raise self.failure(error) from None

    def report_at_end(self, item: pytest.Item | None, error: PgTemplateError) -> None:
        """Report an error after ``item``, the last test, unless a worker has reported it."""
        if item is not None and self._is_ours_to_show(error):
            self.report_teardown_errors(item, [error])

    def skip_if_broken(self, fixtures: Collection[str]) -> None:
        """Skip a test that needs a fixture which failed, or fail it with the same error."""
        for fixture, error in self._broken.items():
            if fixture in fixtures:
                self.fail_or_skip(error)

    @contextmanager
    def skip_repeated_failures(self) -> Iterator[None]:
        """Skip a test that fails only because pytest raises the cached failure of a fixture."""
        try:
            yield
        except pytest.fail.Exception as failure:
            for error in self._errors_of(failure):
                if self.is_shown(error):
                    self.fail_or_skip(error)
            raise

    def fail_or_skip(self, error: PgTemplateError) -> NoReturn:
        """Fail the current test, or skip it if a report shows the error or another worker will.

        This is the only place where the plugin skips a test because of an error.
        """
        if self._is_ours_to_show(error):
            raise self.failure(error) from None  # pytest would also show the original traceback
        first_line = error.message.partition("\n")[0]
        pytest.skip(f"no database: {first_line} (reported in full once)")

    def failure(self, *errors: PgTemplateError) -> BaseException:
        """Return what to raise for errors that a failed report has to show."""
        failure = pytest.fail.Exception("\n".join(map(str, errors)), pytrace=False)
        self._raised[id(failure)] = failure, list(errors)
        for each in errors:
            self.failures.claim(each)  # a test of another worker with the same error skips
        self._owed |= {digest(e): str(e) for e in errors if not isinstance(e, _OWN_FAULTS)}
        return failure

    def report_teardown_errors(self, item: pytest.Item, errors: list[PgTemplateError]) -> None:
        """Report errors of a test that cannot fail any more: its teardown is over."""
        if errors:
            failure = self.failure(*errors)
            report = _teardown_report(item.nodeid, item.location, str(failure))
            self.sign_report(report, failure)
            item.ihook.pytest_runtest_logreport(report=report)

    def _errors_of(self, failure: BaseException) -> list[PgTemplateError]:
        return self._raised[id(failure)][1] if id(failure) in self._raised else []

    def is_shown(self, error: PgTemplateError) -> bool:
        """Whether a failed report of this process, or one that it received, shows the error."""
        return digest(error) in self._shown

    def _is_ours_to_show(self, error: PgTemplateError) -> bool:
        """Whether this process has to fail a test with the error; in any case it must be shown."""
        self._owed[digest(error)] = str(error)
        return not self.is_shown(error) and self.failures.claim(error)

    def sign_report(self, report: pytest.TestReport, error: BaseException | None) -> None:
        """Record in a report which errors it shows, and which ones have to be shown."""
        if shown := self._digests_of(error):
            setattr(report, _SHOWS, shown)
        if self._owed:
            setattr(report, _OWES, self._owed)
            self._owed = {}

    def _digests_of(self, error: BaseException | None) -> list[str]:
        return [digest(each) for cause in walk_causes(error) for each in self._errors_of(cause)]

    def record_error(
        self, report: pytest.TestReport | pytest.CollectReport, error: BaseException | None
    ) -> None:
        """Record which errors a report shows. A plugin may move its ``longrepr`` to another one."""
        self._last_failure = report.longrepr, self._digests_of(error)

    def sign_moved_error(self, report: pytest.TestReport) -> None:
        """Sign a report that shows the recorded errors instead of its own."""
        longrepr, shown = self._last_failure
        if longrepr is not None and report.longrepr is longrepr:
            setattr(report, _SHOWS, shown)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Read the records of a report. Its outcome is final: marks and plugins have changed it."""
        shown = getattr(report, _SHOWS, ())
        if report.outcome == "failed":
            self._shown.update(shown)
        else:
            for each in set(shown) - self._shown:
                self.failures.withdraw(each)
        for each, text in getattr(report, _OWES, {}).items():
            self._owed_reports.setdefault(each, (text, report))

    def missing_reports(self, *, is_red: bool) -> Iterator[pytest.TestReport]:
        """Return an error report for each error that had to be shown and was not.

        If the run is not red, none was shown: pytest-rerunfailures removes reports of subtests.
        """
        for each, (text, report) in self._owed_reports.items():
            if each not in self._shown or not is_red:
                yield _teardown_report(report.nodeid, report.location, f"{text}\n{_WHY}")


_WHY = (
    "It is reported here because no failed test shows it, and other tests may have been skipped"
    " because of it."
)


def _teardown_report(
    nodeid: str, location: tuple[str, int | None, str], text: str
) -> pytest.TestReport:
    return pytest.TestReport(nodeid, location, {}, "failed", text, "teardown")


def explain_blocked_socket(error: BaseException | None) -> PgTemplateError | None:
    """If pytest-socket has blocked a socket, return an error that names the option to allow it."""
    causes = walk_causes(error, suppressed=True)
    refusal = next((each for each in causes if type(each).__module__ == "pytest_socket"), None)
    if refusal is None:
        return None
    return ConfigurationError(
        f"pytest-socket refused a socket that the plugin needs: {refusal}",
        hint="add --allow-unix-socket, which event loops and the embedded server need; for a server"
        " with host and port also --allow-hosts=HOST",
    )


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


def walk_causes(
    error: BaseException | None, *, suppressed: bool = False
) -> Iterator[BaseException]:
    """Yield an exception with its group members, causes and contexts, as pytest shows them.

    Each one once: an exception may be its own cause. ``suppressed``: also contexts that
    ``raise .. from`` hides.
    """
    pending, seen = [error], set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        context = each.__context__ if suppressed or not each.__suppress_context__ else None
        pending.append(each.__cause__ if each.__cause__ is not None else context)
        if isinstance(each, BaseExceptionGroup):
            pending += reversed(each.exceptions)


def traceback_frames(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames of an exception and its causes, from the outermost call inwards."""
    for each in walk_causes(error):
        for frame, _ in traceback.walk_tb(each.__traceback__):
            yield frame
