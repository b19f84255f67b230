"""Walk through a lineage in a child process, in a scratch database."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pytest_pgtemplate._check import verdicts
from pytest_pgtemplate._check.verdicts import Verdict
from pytest_pgtemplate._reset import drop_damaged_template, object_functions, uninstall
from pytest_pgtemplate._server import Mark, Server
from pytest_pgtemplate._template import Alembic, Script, Target, raise_if_failed
from pytest_pgtemplate.errors import MigrationError, PgTemplateError

MODELS = "models"
_COMMIT = re.compile(rb"""(["';]\s*|\.)commit\b""", re.IGNORECASE)  # a statement or a call
Verdicts = dict[str, Verdict]


@dataclass(frozen=True)
class CheckContext:
    """What a walk needs. ``scratch``: the name of this worker's scratch database."""

    alembic: Alembic
    scripts: Mapping[str, Script]
    server: Server
    scratch: str
    run: str
    tracking: str
    root: Path  # file names in messages are relative to it
    column_order: bool  # whether a downgrade has to restore the order of columns
    target: Callable[[str], Target] = field(repr=False)


def walk(context: CheckContext, piece: Sequence[str], start: str, *, models: bool) -> Verdicts:
    """Check a piece of the lineage, starting from the template ``start`` or an empty database.

    A template may contain rows that make a downgrade fail. So what fails there is checked again
    from an empty database. Raises MigrationError if env.py fails, and ServerError.
    """
    found = _walk(context, [*piece, *([MODELS] if models else [])], start)
    suspects = [name for name in piece if found[name].outcome == "failed"]
    if start and suspects:
        found |= _walk(context, suspects, "")
    return found


def _walk(context: CheckContext, wanted: Sequence[str], start: str) -> Verdicts:
    """Walk until there is a verdict on everything.

    A walk ends where the database is no longer known: at a revision that fails in transactions of
    its own, or that commits in one that was to be rolled back.
    """
    found: Verdicts = {}
    separate = {name for name in wanted if name != MODELS and _commits(context.scripts[name])}
    while remaining := [name for name in wanted if name not in found]:
        for report in _walk_once(context, remaining, separate, start):
            if MODELS in report:
                found[MODELS] = verdicts.models_verdict(report[MODELS])
                continue
            if report.get("separate"):
                separate.add(report["revision"])
                continue
            script = context.scripts[report["revision"]]
            verdict = verdicts.revision_verdict(
                script, report, context.root, column_order=context.column_order
            )
            found.setdefault(script.name, verdict)
            if report.get("failed") == "upgrade":
                reason = f"revision {script.name} cannot be reached: its upgrade fails"
                return {name: Verdict("skipped", reason) for name in wanted} | found
    return found


def _commits(script: Script) -> bool:
    """Whether the file seems to end a transaction. A false alarm only separates its parts."""
    return _COMMIT.search(script.file.read_bytes()) is not None


def _walk_once(
    context: CheckContext, remaining: Sequence[str], separate: set[str], start: str
) -> list[dict[str, Any]]:
    """Return the reports of one walk: at least one of them is about a ``remaining`` revision."""
    with database(context, start) as name, TemporaryDirectory() as directory:
        target, report_file = context.target(name), Path(directory, "reports.jsonl")
        result = context.alembic.run(
            "check",
            target,
            revisions=[revision for revision in remaining if revision != MODELS],
            separate=sorted(separate),
            models=MODELS in remaining,
            functions=object_functions(),
            report_file=str(report_file),
        )
        lines = report_file.read_text("utf-8").splitlines() if report_file.exists() else []
        report: list[dict[str, Any]] = [json.loads(line) for line in lines]
        if not report:
            raise_if_failed(result, "the check of the migrations", target.timeout, target.url)
            raise MigrationError(
                "env.py ended before the migrations were checked",
                hint="env.py must call context.run_migrations(), and must not catch its errors",
            )
        return report


@contextmanager
def database(context: CheckContext, template: str = "", suffix: str = "") -> Iterator[str]:
    """Yield a scratch database: empty, or a clone of a template without the plugin's objects."""
    server, name = context.server, context.scratch + suffix
    server.lease(name)
    try:
        server.drop(name)  # left by a worker of this run that was killed
        mark = Mark("scratch", context.run)
        origin = server.find(template) if template else None
        if origin is not None and origin.mark is not None:
            server.clone(template, name, mark)
            url = server.url.set(database=name)
            if not uninstall(url, context.tracking, origin.mark.state, timeout=server.timeout):
                drop_damaged_template(server, template)
        else:
            server.create(name, mark)
        yield name
    finally:
        with suppress(PgTemplateError):  # report the first error; a sweep drops the scratch
            server.release(name)
            server.drop(name)
