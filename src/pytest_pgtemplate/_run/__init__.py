"""What one process knows of the run that it is part of, and what it shows of it.

How each test is isolated, which failure was reported already, what the environment says, and the
summary at the end. It is imported in every run of pytest, so it is light.
"""

from pytest_pgtemplate._run.directory import Directory
from pytest_pgtemplate._run.environment import Environment
from pytest_pgtemplate._run.failed import section
from pytest_pgtemplate._run.failures import Failures
from pytest_pgtemplate._run.isolated import FAILED, Isolated
from pytest_pgtemplate._run.isolation import MARKER
from pytest_pgtemplate._run.overrides import disagreement
from pytest_pgtemplate._run.progress import Progress, draw_in_pytest, draw_on, duplicate
from pytest_pgtemplate._run.reports import Reports, fail, fails
from pytest_pgtemplate._run.run import RUN, Run
from pytest_pgtemplate._run.stats import Stats
from pytest_pgtemplate._run.summary import facts, header_line, summary_lines
from pytest_pgtemplate._run.timeline import Timeline

__all__ = [
    "FAILED",
    "MARKER",
    "RUN",
    "Directory",
    "Environment",
    "Failures",
    "Isolated",
    "Progress",
    "Reports",
    "Run",
    "Stats",
    "Timeline",
    "disagreement",
    "draw_in_pytest",
    "draw_on",
    "duplicate",
    "facts",
    "fail",
    "fails",
    "header_line",
    "section",
    "summary_lines",
]
