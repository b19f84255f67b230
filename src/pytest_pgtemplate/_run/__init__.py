"""What one process knows of the run that it is part of, and what it shows of it.

How each test is isolated, which failure was reported already, and the summary at the end. It is
imported in every run of pytest, so it is light.
"""

from pytest_pgtemplate._run.failures import Failures
from pytest_pgtemplate._run.isolation import MARKER
from pytest_pgtemplate._run.reports import Reports, fail
from pytest_pgtemplate._run.run import FAILED, RUN, Ending, Run, Stats
from pytest_pgtemplate._run.summary import header_line, summary_lines

__all__ = [
    "FAILED",
    "MARKER",
    "RUN",
    "Ending",
    "Failures",
    "Reports",
    "Run",
    "Stats",
    "fail",
    "header_line",
    "summary_lines",
]
