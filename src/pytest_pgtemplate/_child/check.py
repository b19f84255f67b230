"""In the child process: upgrade through a lineage; test some revisions up, down and up again.

The walk is one run of env.py, with one transaction per step if env.py allows it. The result of each
revision is written at once, as a line of JSON, because the walk may end at any step.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_pgtemplate._child import trial as trials
from pytest_pgtemplate._child.catalog import CatalogReader, DatabaseState
from pytest_pgtemplate._child.differences import (
    Changes,
    lost_rows,
    object_changes,
    row_changes,
)
from pytest_pgtemplate._child.migrate import open_environment, progress_of, revision_title
from pytest_pgtemplate._child.trial import AGAIN, DOWN, StatementCounter, Trial
from pytest_pgtemplate._display.progress_file import Step, report_progress, write_step
from pytest_pgtemplate._internals.alembic import (
    downgrade_step,
    forget_created_types,
    in_external_transaction,
    recorded_arguments,
    run_step,
    upgrade_steps,
)

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

UP = "upgrade"
# SQLSTATE classes of errors that say nothing about a revision: connection lost, deadlock, out of
# resources, lock not available, ended by an administrator.
_TRANSIENT = ("08", "40", "53", "55P03", "57", "58")


def run(job: dict[str, Any]) -> None:
    """Check ``job["revisions"]`` and, if ``job["models"]``, compare the models.

    The downgrade and the second upgrade are tried and rolled back, so the walk continues if they
    fail. The revisions in ``job["separate"]`` cannot be tried in one transaction: each part is
    committed, and a failure ends the walk. The first result of a revision counts.
    """
    script, run_env = open_environment(job)
    with Path(job["report_file"]).open("w", encoding="utf-8", buffering=1) as report_file:
        walk = RevisionWalk(script, job, report_file)
        try:
            run_env(walk.steps, transaction_per_migration=True)
        except Exception as error:
            if walk.current_step is None:
                raise
            cause = error.__cause__  # SystemExit: of a migration, not of env.py
            walk.failed(*walk.current_step, cause if isinstance(cause, SystemExit) else error)


class RevisionWalk:
    """Upgrades to each revision once, and reports on those that are to be checked."""

    def __init__(self, script: ScriptDirectory, job: dict[str, Any], report_file: Any) -> None:
        self._script = script
        self._job = job
        self._report_file = report_file
        # The revision and the part that Alembic runs now, for an error that it raises.
        self.current_step: tuple[str, str] | None = None
        self.statements: StatementCounter

    def steps(self, heads: Any, context: MigrationContext) -> Iterator[Any]:
        functions, one_transaction = self._job["functions"], in_external_transaction(context)
        catalog = CatalogReader(context.connection, functions, one_transaction=one_transaction)
        self.statements = StatementCounter(context.connection)
        checks = _RevisionChecks(self, context, catalog)
        ahead = set(self._job["revisions"])
        progress = progress_of(self._job)
        steps = upgrade_steps(self._script, self._job["revision"], heads)
        for step in report_progress(progress, "checking", steps, list(map(revision_title, steps))):
            name = step.revision.revision
            if name not in ahead:
                yield from self.run_step(context, step, UP)
            elif not (yield from checks.check(step, separate=name in self._job["separate"])):
                return
            ahead.discard(name)
        self.current_step = None
        for name in ahead:
            self.report(revision=name, absent=True)
        if self._job["models"]:
            write_step(progress, Step("comparing the models"))
            self.report(models=_compare_models(context))

    def run_step(self, context: MigrationContext, step: Any, part: str) -> Iterator[Any]:
        """Let Alembic run a step, in its transaction."""
        self.current_step = (step.revision.revision, part)
        forget_created_types(context)
        self.statements.count = 0
        yield step

    def downgrade_of(self, upgrade: Any) -> Any:
        return downgrade_step(self._script, upgrade)

    def failed(self, revision: str, part: str, error: BaseException) -> None:
        """Report a failed part. A downgrade that refuses before any statement is irreversible."""
        refused = isinstance(error, NotImplementedError) or (
            self.statements.count == 0 and trials.is_deliberate(error)
        )
        self.report(
            revision=revision,
            failed=part,
            error=_short_error(error),
            line=_line_in_file(self._script.get_revision(revision).path, error),
            transient=(trials.sqlstate(error) or "").startswith(_TRANSIENT),
            irreversible=part == DOWN and refused,
        )

    def report(self, **result: Any) -> None:
        print(json.dumps(result), file=self._report_file)


class _RevisionChecks:
    """Checks one revision after the other. ``check`` returns False if the walk must end there."""

    def __init__(
        self, walk: RevisionWalk, context: MigrationContext, catalog: CatalogReader
    ) -> None:
        self._walk = walk
        self._context = context
        self._catalog = catalog
        self._arguments = recorded_arguments(context)

    def check(self, up: Any, *, separate: bool) -> Generator[Any, None, bool]:
        walk, name = self._walk, up.revision.revision
        before = self._read()
        yield from walk.run_step(self._context, up, UP)
        first = self._read()
        walk.current_step = (name, DOWN)
        try:
            down = walk.downgrade_of(up)
        except Exception as error:  # there is no downgrade
            walk.failed(name, DOWN, error)
            return True
        if separate:
            return (yield from self._check_separately(up, down, before, first))
        trial = Trial(self._context, self._read, walk.statements)
        run = partial(run_step, self._context, arguments=self._arguments)
        trial.run(partial(run, down), partial(run, up))
        walk.current_step = None
        if trial.is_separate:
            if not trial.is_undone:
                walk.report(revision=name, separate=True)
                return False
            return (yield from self._check_separately(up, down, before, first))
        self._report_differences(name, before, first, trial.after, trial.second)
        if trial.failure is not None:
            walk.failed(name, *trial.failure)
        return True

    def _check_separately(
        self, up: Any, down: Any, before: DatabaseState, first: DatabaseState
    ) -> Generator[Any, None, bool]:
        name = up.revision.revision
        yield from self._walk.run_step(self._context, down, DOWN)
        after = self._read()
        self._report_differences(name, before, first, after, None)
        yield from self._walk.run_step(self._context, up, AGAIN)
        second = self._read()
        self._walk.current_step = None
        self._report_differences(name, before, first, after, second)
        return not _again(before, first, second)

    def _report_differences(
        self,
        name: str,
        before: DatabaseState,
        first: DatabaseState,
        after: DatabaseState | None,
        second: DatabaseState | None,
    ) -> None:
        if after is not None and (
            left := object_changes(before, after) + row_changes(before, after)
        ):
            self._walk.report(revision=name, downgraded=left)
        if second is not None:
            self._walk.report(revision=name, again=_again(before, first, second))

    def _read(self) -> DatabaseState:
        """Read the state in the open transaction; without one, commit afterwards."""
        connection: Any = self._context.connection
        lasts = connection.in_transaction()
        state = self._catalog.read()
        if not lasts:
            connection.commit()
        return state


def _again(before: DatabaseState, first: DatabaseState, second: DatabaseState) -> Changes:
    """Return the differences between the second upgrade and the first."""
    return object_changes(first, second) + lost_rows(before, first, second)


def _compare_models(context: MigrationContext) -> dict[str, Any] | None:
    """Return the result of Alembic's autogenerate, configured by env.py. None: no metadata."""
    from alembic.autogenerate import produce_migrations, render_python_code
    from alembic.operations import ops

    metadata = context.opts["target_metadata"]
    if metadata is None:
        return None
    found = [produce_migrations(context, metadata)]
    if (hook := context.opts.get("process_revision_directives")) is not None:
        hook(context, context.get_current_heads(), found)  # it may remove operations, or all
    upgrade = found[0].upgrade_ops if found else ops.UpgradeOps([])
    assert upgrade is not None
    unknown = [op for op in upgrade.ops if isinstance(op, ops.DropTableOp)]
    tables = {(op.schema, op.table_name) for op in unknown}
    upgrade.ops = [
        op
        for op in upgrade.ops
        if op not in unknown
        and not (isinstance(op, ops.ModifyTableOps) and (op.schema, op.table_name) in tables)
    ]
    code = render_python_code(upgrade) if upgrade.ops else ""
    lines = [line.strip() for line in code.splitlines()]
    return {
        "missing": [line for line in lines if line and not line.startswith("#")],
        "empty": not any(each.tables for each in _metadatas(metadata)),
        "unknown": sorted(".".join(filter(None, table)) for table in tables),
    }


def _metadatas(target: Any) -> Any:
    """``target_metadata`` may be one ``MetaData`` or several."""
    return target if isinstance(target, list | tuple) else [target]


def _short_error(error: BaseException) -> str:
    """Return the driver's message, without the exceptions that SQLAlchemy wraps around it."""
    original: BaseException = getattr(error, "orig", None) or error
    if original is not error and original.__cause__:
        original = original.__cause__
    return f"{type(original).__name__}: {str(original).strip()}"


def _line_in_file(file: str, error: BaseException) -> int | None:
    """Return the innermost line of ``file`` in the traceback of ``error``."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == file), None)
