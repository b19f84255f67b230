"""The state of one pytest process: the isolation of each test, reported errors, header and summary.

Every run of pytest imports this package. What only database tests need is in modules that it does
not import: ``isolated_database``, ``progress``, ``resources``, ..
"""

from pytest_pgtemplate._run.context import FAILED, RunDirectory
from pytest_pgtemplate._run.environment import EnvironmentVariables, hide_libpq_variables
from pytest_pgtemplate._run.error_reporter import (
    ErrorReporter,
    fail,
    fails,
)
from pytest_pgtemplate._run.redaction import FinalReports, redact, redact_report
from pytest_pgtemplate._run.run import RUN, Run, requests_database
from pytest_pgtemplate._run.summary import header_line, report_facts, summary_lines

__all__ = [
    "FAILED",
    "RUN",
    "EnvironmentVariables",
    "ErrorReporter",
    "FinalReports",
    "Run",
    "RunDirectory",
    "crashed_workers",
    "error_sections",
    "fail",
    "fails",
    "failure_section",
    "first_fixtures",
    "header_line",
    "hide_libpq_variables",
    "isolated_database",
    "progress",
    "redact",
    "redact_report",
    "report_facts",
    "requests_database",
    "resources",
    "summary_lines",
    "timeline",
]
