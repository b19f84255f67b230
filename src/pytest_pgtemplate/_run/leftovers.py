"""Describe what a test left behind: open transactions and, with ``--pg-verify``, differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_pgtemplate.errors import LeakError, SchemaChangedError, VerificationError

if TYPE_CHECKING:
    from pytest_pgtemplate._reset import Change, Difference, Leak
    from pytest_pgtemplate._worker import WorkerDatabase

Differences = tuple["Difference", ...]


def explain_by_reclone(
    worker: WorkerDatabase, differences: Differences, reclone: Callable[[], None]
) -> VerificationError:
    """Replace a database that differs from its expected state, and name what differs.

    The new clone holds the expected values. Raises ServerError.
    """
    from pytest_pgtemplate._reset import changes_between

    actual = worker.resetter.read_details(differences)
    reclone()
    expected = worker.resetter.read_details(differences)
    return _error(
        "the database differs from its expected state and was re-cloned",
        changes_between(expected, actual, differences),
    )


def clone_error(differences: Differences) -> VerificationError:
    """Return the error for a new clone that differs, too, with the active layers."""
    from pytest_pgtemplate._reset import Details, changes_between

    return _error(
        "a new clone, with the data that tests share, differs from its expected state",
        changes_between(Details(), Details(), differences),
    )


def _error(message: str, changes: list[Change]) -> VerificationError:
    from pytest_pgtemplate._reset import describe

    lines = "\n".join(f"  {line}" for line in describe(changes))
    return VerificationError(
        f"{message}:\n{lines}",
        hint="the reset did not detect it, so this is a bug or a documented limit of resets;"
        " isolation='clone' helps",
    )


def leak_error(leaks: tuple[Leak, ...], node_id: str) -> LeakError:
    ended = f"{node_id} left a transaction open that blocked the reset; the plugin ended it:"
    late = f"during {node_id}, a transaction committed that an earlier test had left open:"
    parts = [(ended, [leak for leak in leaks if not leak.late])]
    parts += [(late, [leak for leak in leaks if leak.late])]
    return LeakError(
        "\n".join("\n  ".join([text, *map(str, found)]) for text, found in parts if found),
        hint="commit, roll back or close it in the test or in the fixture that opened it"
        " (async with ..); pg_on_leak = warn makes this a warning",
    )


def schema_error(reason: str, node_id: str) -> SchemaChangedError:
    return SchemaChangedError(
        f"the database could not be reset after {node_id}: {reason}",
        hint="mark it @pytest.mark.pg(isolation='clone'), or set pg_on_ddl = reclone",
    )
