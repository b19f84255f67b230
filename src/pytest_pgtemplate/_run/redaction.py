"""Hide passwords in reports: a traceback contains arguments and locals, also of drivers."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import pytest

from pytest_pgtemplate._internals.pytest import map_report_strings
from pytest_pgtemplate._run.run import RUN

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def redact_report(report: Report, config: pytest.Config) -> Report:
    """Hide the passwords of this run's servers in a report, in place."""
    if report.longrepr or report.sections:
        report.longrepr = redact(report.longrepr, config)
        report.sections = redact(report.sections, config)
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
