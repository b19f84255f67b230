"""The state of one pytest process: the isolation of each test, reported errors, header and summary.

Every run of pytest imports this package, so it imports nothing that is slow.
"""

from pytest_pgtemplate._run.environment import EnvironmentVariables, hide_libpq_variables
from pytest_pgtemplate._run.error_reporter import (
    ErrorReporter,
    fail,
    fails,
)
from pytest_pgtemplate._run.first_fixtures import put_first
from pytest_pgtemplate._run.isolated_database import IsolatedDatabase
from pytest_pgtemplate._run.isolation import MARKER
from pytest_pgtemplate._run.overrides import find_override_conflict
from pytest_pgtemplate._run.progress import ProgressReporter, draw_in_pytest
from pytest_pgtemplate._run.redaction import redact, redact_report
from pytest_pgtemplate._run.reported_errors import ReportedErrors
from pytest_pgtemplate._run.resources import PreparedResources, Resource
from pytest_pgtemplate._run.run import RUN, Run
from pytest_pgtemplate._run.run_directory import RunDirectory
from pytest_pgtemplate._run.stats import DatabaseStats
from pytest_pgtemplate._run.summary import header_line, report_facts, summary_lines
from pytest_pgtemplate._run.teardown import FAILED
from pytest_pgtemplate._run.timeline import Timeline

__all__ = [
    "FAILED",
    "MARKER",
    "RUN",
    "DatabaseStats",
    "EnvironmentVariables",
    "ErrorReporter",
    "IsolatedDatabase",
    "PreparedResources",
    "ProgressReporter",
    "ReportedErrors",
    "Resource",
    "Run",
    "RunDirectory",
    "Timeline",
    "crashed_workers",
    "draw_in_pytest",
    "event_loop_section",
    "fail",
    "fails",
    "failure_section",
    "find_override_conflict",
    "header_line",
    "hide_libpq_variables",
    "put_first",
    "redact",
    "redact_report",
    "report_facts",
    "summary_lines",
]
