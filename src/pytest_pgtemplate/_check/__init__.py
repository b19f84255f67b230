"""Migrations tested: each revision up, down and up again, in a scratch database.

``checks`` answers what the items of a run ask; ``plan`` says what is left to prove, in which
pieces; ``board`` holds what workers share; ``walk`` lets a child process walk; ``snapshot``
compares whole databases; ``verdicts`` puts into words what came of it. The SQL reads the catalogs.
"""

from pytest_pgtemplate._check.checks import Checks, Task
from pytest_pgtemplate._check.plan import checked
from pytest_pgtemplate._check.verdicts import Verdict
from pytest_pgtemplate._check.walk import MODELS, Ground

__all__ = ["MODELS", "Checks", "Ground", "Task", "Verdict", "checked"]
