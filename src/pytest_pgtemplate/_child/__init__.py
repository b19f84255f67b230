"""Child processes, in which the user's own code runs: each does one job and ends with its parent.

``process`` is the parent's side; ``main`` is the child's, with the jobs ``migrate`` and ``seed``.
"""

from pytest_pgtemplate._child.main import REPORTED_ERROR
from pytest_pgtemplate._child.process import ChildResult, run, run_job

__all__ = ["REPORTED_ERROR", "ChildResult", "run", "run_job"]
