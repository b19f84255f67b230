"""Reset a worker's database, in one round trip, to the template's state and the active layers.

``install`` prepares a template for resets, ``uninstall`` reverts that, and a ``Resetter`` resets a
clone. ``late_commits`` finds transactions that outlive their test. ``snapshot`` and ``verifier``
compare whole databases with their expected state.
"""

from pytest_pgtemplate._reset.blocker_watch import Leak
from pytest_pgtemplate._reset.resetter import ResetResult, Resetter
from pytest_pgtemplate._reset.scripts import (
    drop_damaged_template,
    install,
    installed_sql,
    uninstall,
)
from pytest_pgtemplate._reset.snapshot import (
    Change,
    Details,
    Difference,
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
    "Details",
    "Difference",
    "Leak",
    "ResetResult",
    "Resetter",
    "Seal",
    "changes_between",
    "compare_databases",
    "compare_states",
    "describe",
    "drop_damaged_template",
    "install",
    "installed_sql",
    "object_functions",
    "state_digest",
    "uninstall",
]
