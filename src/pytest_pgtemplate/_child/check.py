"""In the child process: walk a lineage up, and some revisions of it up, down and up again.

All in one run of env.py, each step in a transaction of its own where env.py lets us. The result of
a revision is written at once, as a line of JSON, because a walk may end at any step.
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
Changes = list[tuple[str | None, str, str | None, str | None]]  # part of, object, before, after


def run(job: dict[str, Any]) -> None:
    """Check ``job["revisions"]`` and, if wanted, the models.

    A step that fails is the last one. So is one that leaves a state from which the walk could not
    go on as if nothing had been. The first result of a revision counts.
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
        self.current_step: tuple[str, str] | None = (
            None  # the revision and the step that are under way
        )

    def steps(self, heads: Any, context: MigrationContext) -> Iterator[Any]:
        from pytest_pgtemplate._internals.alembic import in_external_transaction, upgrade_steps

        catalog = CatalogReader(
            context.connection,
            self._job["functions"],
            one_transaction=in_external_transaction(context),
        )
        ahead = set(self._job["revisions"])
        before = None
        progress = progress_of(self._job)
        steps = upgrade_steps(self._script, self._job["revision"], heads)
        for step in report_progress(progress, "checking", steps, list(map(revision_title, steps))):
            if step.revision.revision in ahead:
                ahead.remove(step.revision.revision)
                before = yield from self._check(step, before, catalog, context)
                if before is None:
                    return
            else:
                before = None
                yield from self._run_step(step, UP)
        self.current_step = None
        for name in ahead:
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
        """The state that the revision ends with. None: the walk cannot go on from there."""
        name = up.revision.revision
        before = before or self._read(catalog, context)
        yield from self._run_step(up, UP)
        first = self._read(catalog, context)
        from pytest_pgtemplate._internals.alembic import downgrade_step

        self.current_step = (name, DOWN)  # it may not have any
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
        """Within the transaction that env.py has begun, or in none that lasts."""
        connection: Any = context.connection
        lasts = connection.in_transaction()
        state = catalog.read()
        if not lasts:
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

    def _report(self, **what: Any) -> None:
        print(json.dumps(what), file=self._report_file)


def _changes(before: DatabaseState, after: DatabaseState) -> Changes:
    """Objects that came, went or are defined otherwise."""
    if before.objects == after.objects:
        return []
    nothing = (None, None)
    return [
        (old[0] or new[0], name, old[1], new[1])
        for name in sorted(before.objects.keys() | after.objects.keys())
        if (old := before.objects.get(name, nothing)) != (new := after.objects.get(name, nothing))
    ]


def _row_changes(before: DatabaseState, after: DatabaseState) -> Changes:
    """Rows that came, went or were changed, in tables whose columns are the same."""
    changes: Changes = []
    for table in sorted(before.rows.keys() | after.rows.keys()):
        old, new = before.rows.get(table, NO_ROWS), after.rows.get(table, NO_ROWS)
        columns = f"columns of {table}"
        if old.digest == new.digest or before.objects.get(columns) != after.objects.get(columns):
            continue
        if old.content is None or new.content is None:
            changes.append((table, f"rows of {table}", "as they were", "others"))
            continue
        went, came = (Counter(each.content) for each in (old, new))
        changes += [(table, f"row of {table}", row, None) for row in (went - came).elements()]
        changes += [(table, f"row of {table}", None, row) for row in (came - went).elements()]
    return changes


def _lost_rows(before: DatabaseState, first: DatabaseState, second: DatabaseState) -> Changes:
    """Rows that the upgrade left alone at first. Rows that it inserts may differ (a timestamp)."""
    changes: Changes = []
    for table, rows in first.rows.items():
        now = second.rows.get(table, NO_ROWS)
        if rows.digest == now.digest or rows.content is None or now.content is None:
            continue
        kept = Counter(rows.content) & Counter(before.rows.get(table, NO_ROWS).content or ())
        lost = kept - Counter(now.content)
        changes += [(table, f"row of {table}", row, None) for row in lost.elements()]
        if not lost and len(rows.content) != len(now.content):
            counts = (f"{len(rows.content)} of them", f"{len(now.content)} of them")
            changes.append((table, f"rows of {table}", *counts))
    return changes


def _compare_models(context: MigrationContext) -> dict[str, Any] | None:
    """Alembic's own comparison, as env.py asks for it. None: env.py names no models."""
    from alembic.autogenerate import produce_migrations, render_python_code
    from alembic.operations import ops

    metadata = context.opts["target_metadata"]
    if metadata is None:
        return None
    upgrade = produce_migrations(context, metadata).upgrade_ops
    assert upgrade is not None
    unknown = [each for each in upgrade.ops if isinstance(each, ops.DropTableOp)]
    tables = {(each.schema, each.table_name) for each in unknown}
    upgrade.ops = [
        each
        for each in upgrade.ops
        if each not in unknown
        and not (isinstance(each, ops.ModifyTableOps) and (each.schema, each.table_name) in tables)
    ]
    code = render_python_code(upgrade) if upgrade.ops else ""
    lines = [line.strip() for line in code.splitlines()]
    return {
        "missing": [line for line in lines if line and not line.startswith("#")],
        "unknown": sorted(".".join(filter(None, table)) for table in tables),
    }


def _short_error(error: BaseException) -> str:
    """What the server said, without what SQLAlchemy and its drivers wrap around it."""
    said: BaseException = getattr(error, "orig", None) or error
    said = said.__cause__ if said is not error and said.__cause__ else said
    return f"{type(said).__name__}: {str(said).strip()}"


def _line_in_file(file: str, error: BaseException) -> int | None:
    """Where in ``file`` it was raised, or what raised it was called."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    return lines[-1] if lines else None
