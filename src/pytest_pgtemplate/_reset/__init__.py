"""Bring a worker's database back to its state, in one round trip: the template's, and its layers'.

``install`` puts what that takes into the template, and ``uninstall`` takes it out; a ``Resetter``
runs it in a clone.
"""

from pytest_pgtemplate._reset.resetter import Outcome, Resetter
from pytest_pgtemplate._reset.scripts import install, layout, uninstall
from pytest_pgtemplate._reset.watch import Leak

__all__ = ["Leak", "Outcome", "Resetter", "install", "layout", "uninstall"]
