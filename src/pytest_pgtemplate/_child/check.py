"""In the child process: upgrade through a lineage; test some revisions up, down and up again.

The walk is one run of env.py, with one transaction per step if env.py allows it. The result of each
revision is written at once, as a line of JSON, because the walk may end at any step.
"""

from __future__ import annotations

import json
import traceback
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_pgtemplate._child.catalog import CatalogReader, DatabaseState, TableRows
from pytest_pgtemplate._child.migrate import open_environment, progress_of, revision_title
from pytest_pgtemplate._display.progress_file import Step, report_progress, write_step

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

UP, DOWN, AGAIN = "upgrade", "downgrade", "second upgrade"
NO_ROWS = TableRows("", ())
Changes = list[tuple[str | None, str, str | None, str | None]]  # container, object, before, after


def run(job: dict[str, Any]) -> None:
    """Check ``job["revisions"]`` and, if ``job["models"]``, compare the models.

    The walk ends at the first step that fails or whose second upgrade differs from the first. The
    first result of a revision counts.
    """
    script, run_env = open_environment(job)
    with Path(job["told"]).open("w", encoding="utf-8", buffering=1) as message:
        walk = RevisionWalk(script, job, message)
        try:
            run_env(walk.steps, transaction_per_migration=True)
        except Exception as error:
            if walk.current_step is None:
                raise
            walk.failed(error)


class RevisionWalk:
    def __init__(self, script: ScriptDirectory, job: dict[str, Any], message: Any) -> None:
        self._script = script
        self._job = job
        self._report_file = message
        self.current_step: tuple[str, str] | None = None  # revision, and UP, DOWN or AGAIN

    def steps(self, heads: Any, context: MigrationContext) -> Iterator[Any]:
        from pytest_pgtemplate._internals.alembic import in_external_transaction, upgrade_steps

        catalog = CatalogReader(
            context.connection,
            self._job["functions"],
            one_transaction=in_external_transaction(context),
        )
        pending = set(self._job["revisions"])
        before = None
        progress = progress_of(self._job)
        steps = upgrade_steps(self._script, self._job["revision"], heads)
        for step in report_progress(progress, "checking", steps, list(map(revision_title, steps))):
            if step.revision.revision in pending:
                pending.remove(step.revision.revision)
                before = yield from self._check(step, before, catalog, context)
                if before is None:
                    return
            else:
                before = None
                yield from self._run_step(step, UP)
        self.current_step = None
        for name in pending:
            self._report(revision=name, absent=True)
        if self._job["models"]:
            write_step(progress, Step("comparing the models"))
            self._report(models=_compare_models(context))

    def _check(
        self,
        up: Any,
        before: DatabaseState | None,
        catalog: CatalogReader,
        context: MigrationContext,
    ) -> Generator[Any, None, DatabaseState | None]:
        """Yield the three steps of a revision. Returns the final state; None ends the walk."""
        name = up.revision.revision
        before = before or self._read(catalog, context)
        yield from self._run_step(up, UP)
        first = self._read(catalog, context)
        from pytest_pgtemplate._internals.alembic import downgrade_step

        self.current_step = (name, DOWN)  # before downgrade_step, which raises if there is none
        down = downgrade_step(self._script, up)
        yield from self._run_step(down, DOWN)
        after = self._read(catalog, context)
        left = _changes(before, after) + _row_changes(before, after)
        if left:
            self._report(revision=name, downgraded=left)
        yield from self._run_step(up, AGAIN)
        second = self._read(catalog, context)
        self.current_step = None
        again = _changes(first, second) + _lost_rows(before, first, second)
        self._report(revision=name, again=again)
        return None if again else second

    def _run_step(self, step: Any, doing: str) -> Iterator[Any]:
        self.current_step = (step.revision.revision, doing)
        yield step

    def _read(self, catalog: CatalogReader, context: MigrationContext) -> DatabaseState:
        """Read within the transaction of env.py, or in one that ends here."""
        connection: Any = context.connection
        in_transaction = connection.in_transaction()
        state = catalog.read()
        if not in_transaction:
            connection.commit()
        return state

    def failed(self, error: BaseException) -> None:
        assert self.current_step is not None
        revision, doing = self.current_step
        self._report(
            revision=revision,
            failed=doing,
            error=_short_error(error),
            line=_line_in_file(self._script.get_revision(revision).path, error),
            irreversible=doing == DOWN and isinstance(error, NotImplementedError),
        )

    def _report(self, **result: Any) -> None:
        print(json.dumps(result), file=self._report_file)


def _changes(before: DatabaseState, after: DatabaseState) -> Changes:
    """Return the objects that were added, removed or defined differently."""
    if before.objects == after.objects:
        return []
    missing = (None, None)
    return [
        (old[0] or new[0], name, old[1], new[1])
        for name in sorted(before.objects.keys() | after.objects.keys())
        if (old := before.objects.get(name, missing)) != (new := after.objects.get(name, missing))
    ]


def _row_changes(before: DatabaseState, after: DatabaseState) -> Changes:
    """Return the rows that were added, removed or changed, in tables with the same columns."""
    changes: Changes = []
    for table in sorted(before.rows.keys() | after.rows.keys()):
        old, new = before.rows.get(table, NO_ROWS), after.rows.get(table, NO_ROWS)
        columns = f"columns of {table}"
        if old.digest == new.digest or before.objects.get(columns) != after.objects.get(columns):
            continue
        if old.content is None or new.content is None:
            changes.append((table, f"rows of {table}", "unchanged", "different"))
            continue
        removed, added = Counter(old.content), Counter(new.content)
        changes += [(table, f"row of {table}", row, None) for row in (removed - added).elements()]
        changes += [(table, f"row of {table}", None, row) for row in (added - removed).elements()]
    return changes


def _lost_rows(before: DatabaseState, first: DatabaseState, second: DatabaseState) -> Changes:
    """Return rows that the first upgrade kept and the second lost.

    Rows that an upgrade inserts may differ: they can contain a timestamp.
    """
    changes: Changes = []
    for table, rows in first.rows.items():
        now = second.rows.get(table, NO_ROWS)
        if rows.digest == now.digest or rows.content is None or now.content is None:
            continue
        kept = Counter(rows.content) & Counter(before.rows.get(table, NO_ROWS).content or ())
        lost = kept - Counter(now.content)
        changes += [(table, f"row of {table}", row, None) for row in lost.elements()]
        if not lost and len(rows.content) != len(now.content):
            counts = (f"{len(rows.content)} rows", f"{len(now.content)} rows")
            changes.append((table, f"rows of {table}", *counts))
    return changes


def _compare_models(context: MigrationContext) -> dict[str, Any] | None:
    """Return the result of Alembic's autogenerate, configured by env.py. None: no metadata."""
    from alembic.autogenerate import produce_migrations, render_python_code
    from alembic.operations import ops

    metadata = context.opts["target_metadata"]
    if metadata is None:
        return None
    upgrade = produce_migrations(context, metadata).upgrade_ops
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
        "unknown": sorted(".".join(filter(None, table)) for table in tables),
    }


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
