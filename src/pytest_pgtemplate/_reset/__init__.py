"""Bring a worker's database back to its state, in one round trip: the template's, and its layers'.

``install`` puts what that takes into the template, and ``uninstall`` takes it out; a ``Resetter``
runs it in a clone.
"""

from pytest_pgtemplate._reset.blocker_watch import Leak
from pytest_pgtemplate._reset.resetter import ResetResult, Resetter
from pytest_pgtemplate._reset.scripts import install, installed_sql, uninstall

__all__ = ["Leak", "ResetResult", "Resetter", "install", "installed_sql", "uninstall"]
