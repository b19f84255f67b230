"""Child processes that run the user's migrations and seeds. Each does one job.

``process`` is the parent's side. ``main`` is the child's side: it runs ``migrate``,
``revisions``, ``check`` or ``seed``, and ends when its parent ends. ``hints`` has the hints
for errors of the user's code. ``passwords`` is for PostgreSQL's client programs.
"""

from pytest_pgtemplate._child.main import REPORTED_ERROR, WRONG_DRIVER
from pytest_pgtemplate._child.passwords import password_environment
from pytest_pgtemplate._child.process import ChildResult, run, run_job

__all__ = [
    "REPORTED_ERROR",
    "WRONG_DRIVER",
    "ChildResult",
    "hints",
    "password_environment",
    "run",
    "run_job",
]
