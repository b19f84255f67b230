"""Child processes that run the user's migrations and seeds. Each does one job.

``process`` is the parent's side. ``main`` is the child's side: it runs ``migrate``, ``check`` or
``seed``, and ends when its parent ends.
"""

from pytest_pgtemplate._child.main import REPORTED_ERROR
from pytest_pgtemplate._child.process import ChildResult, run, run_job

__all__ = ["REPORTED_ERROR", "ChildResult", "run", "run_job"]
