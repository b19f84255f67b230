"""Hide passwords in reports: a traceback contains arguments and locals, also of drivers.

``FinalReports`` does so for every report before a reporter, or the xdist controller, gets it.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any, TypeVar

import pytest

from pytest_pgtemplate._internals.pytest import map_report_strings
from pytest_pgtemplate._run.run import RUN

Report = TypeVar("Report", bound=pytest.TestReport | pytest.CollectReport)


class FinalReports:
    """A plugin of pytest: completes the reports that did not pass ``pytest_runtest_makereport``.

    pytest-retry makes the report of a further attempt itself, after the wrappers of that hook, and
    moves its outcome and ``longrepr`` to the report of the first attempt.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(
        self, report: pytest.TestReport
    ) -> Generator[None, object, object]:
        if not hasattr(report, "node"):  # otherwise a worker has done so
            run = self._config.stash[RUN]
            run.reports.sign_moved_error(report)
            run.record_failure(report)
            redact_report(report, self._config)
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(
        self, call: pytest.CallInfo[Any], report: pytest.TestReport | pytest.CollectReport
    ) -> None:
        """Redact before ``--pdb`` shows the report. pytest-retry calls this hook first."""
        redact_report(report, self._config)
        self._config.stash[RUN].reports.record_error(report, call.excinfo and call.excinfo.value)


def redact_report(report: Report, config: pytest.Config) -> Report:
    """Hide the passwords of this run's servers in a report, in place.

    A report passes here more than once. If it has only the sections that it had the last time, as
    that of a passed test, they are not searched again.
    """
    run = config.stash[RUN]
    if report.longrepr or (report.sections and report.sections != run.redacted_sections):
        report.longrepr = redact(report.longrepr, config)
        report.sections = redact(report.sections, config)
        run.redacted_sections = list(report.sections)
    return report


def redact(value: Any, config: pytest.Config) -> Any:
    """Hide the passwords of this run's servers in a part of a report, in place."""
    run = config.stash[RUN]
    if not run.urls:
        return value
    from pytest_pgtemplate._urls import redaction

    for password in run.find_passwords():
        redact_text = partial(redaction.redact_where_expected, password=password)
        value = map_report_strings(value, redact_text)
    return value
