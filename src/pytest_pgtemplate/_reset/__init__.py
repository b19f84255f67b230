"""Bring a worker's database back to its state, in one round trip: the template's, and its layers'.

``install`` puts what that takes into the template, and ``uninstall`` takes it out; a ``Resetter``
runs it in a clone. ``snapshot`` compares what whole databases hold.
"""

from pytest_pgtemplate._reset.blocker_watch import Leak
from pytest_pgtemplate._reset.resetter import ResetResult, Resetter
from pytest_pgtemplate._reset.scripts import install, installed_sql, uninstall
from pytest_pgtemplate._reset.snapshot import (
    Change,
    Seal,
    changes_between,
    compare_databases,
    compare_states,
    describe,
    object_functions,
    state_digest,
)

__all__ = [
    "Change",
    "Leak",
    "ResetResult",
    "Resetter",
    "Seal",
    "changes_between",
    "compare_databases",
    "compare_states",
    "describe",
    "install",
    "installed_sql",
    "object_functions",
    "state_digest",
    "uninstall",
]
