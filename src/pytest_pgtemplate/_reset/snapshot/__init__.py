"""Read and compare the contents of whole databases: catalogs, rows, sequences, large objects.

``state`` reads them as numbers, which are fast to compare, and ``expected`` computes the expected
numbers. If they differ, ``objects`` and ``details`` read the text of the objects and rows, and
``changes`` formats the differences.
"""

from pytest_pgtemplate._reset.snapshot.changes import Change, describe
from pytest_pgtemplate._reset.snapshot.details import Details, changes_between, read_details
from pytest_pgtemplate._reset.snapshot.expected import (
    Difference,
    ExpectedState,
    LayerChanges,
    compare_states,
)
from pytest_pgtemplate._reset.snapshot.objects import compare_databases, object_functions
from pytest_pgtemplate._reset.snapshot.state import (
    Seal,
    State,
    current_boundary,
    prepare_to_read,
    read_state,
    seal_state,
    state_digest,
    state_sql,
)

__all__ = [
    "Change",
    "Details",
    "Difference",
    "ExpectedState",
    "LayerChanges",
    "Seal",
    "State",
    "changes_between",
    "compare_databases",
    "compare_states",
    "current_boundary",
    "describe",
    "object_functions",
    "prepare_to_read",
    "read_details",
    "read_state",
    "seal_state",
    "state_digest",
    "state_sql",
]
