"""Let a child process walk through a lineage, in a scratch database that is gone afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pytest_pgtemplate._check import verdicts
from pytest_pgtemplate._check.verdicts import Verdict
from pytest_pgtemplate._reset import object_functions, uninstall
from pytest_pgtemplate._server import Mark, Server
from pytest_pgtemplate._template import Alembic, Script, Target, raise_if_failed
from pytest_pgtemplate.errors import MigrationError, PgTemplateError

MODELS = "models"
Verdicts = dict[str, Verdict]


@dataclass(frozen=True)
class CheckContext:
    """Where to walk. ``scratch`` is the name of this worker's database for it."""

    alembic: Alembic
    scripts: Mapping[str, Script]
    server: Server
    scratch: str
    run: str
    tracking: str
    home: Path  # files are shown as seen from there
    target: Callable[[str], Target] = field(repr=False)


def walk(context: CheckContext, piece: Sequence[str], start: str, *, models: bool) -> Verdicts:
    """Check a piece of the lineage, from a template if it is named, and the models, if wanted.

    A template holds rows for tests: what fails there is walked again from nothing.
    Raises MigrationError when env.py fails, and ServerError.
    """
    found = _walk(context, [*piece, *([MODELS] if models else [])], start)
    suspects = [name for name in piece if found[name].outcome == "failed"]
    if start and suspects:
        found |= _walk(context, suspects, "")
    return found


def _walk(context: CheckContext, wanted: Sequence[str], start: str) -> Verdicts:
    """A walk ends where it cannot go on; the next one begins anew, and passes by that place."""
    found: Verdicts = {}
    separate: set[str] = set()
    while left := [name for name in wanted if name not in found]:
        for report in _walk_once(context, left, separate, start):
            if MODELS in report:
                found[MODELS] = verdicts.models_verdict(report[MODELS])
                continue
            if report.get("separate"):
                separate.add(report["revision"])
                continue
            script = context.scripts[report["revision"]]
            found.setdefault(script.name, verdicts.revision_verdict(script, report, context.home))
            if report.get("failed") == "upgrade":
                reason = f"revision {script.name} cannot be reached: its upgrade fails"
                return {name: Verdict("skipped", reason) for name in wanted} | found
    return found


def _walk_once(
    context: CheckContext, left: Sequence[str], separate: set[str], start: str
) -> list[dict[str, Any]]:
    """What the child tells on one walk, at least of one that is ``left``."""
    with database(context, start) as name, TemporaryDirectory() as directory:
        target, report_file = context.target(name), Path(directory, "told")
        ended = context.alembic.run(
            "check",
            target,
            revisions=[each for each in left if each != MODELS],
            separate=sorted(separate),
            models=MODELS in left,
            functions=object_functions(),
            told=str(report_file),
        )
        lines = report_file.read_text("utf-8").splitlines() if report_file.exists() else []
        report: list[dict[str, Any]] = [json.loads(line) for line in lines]
        if not report:
            raise_if_failed(ended, "the check of the migrations", target.timeout, target.url)
            raise MigrationError(
                "env.py ended before the migrations were checked",
                hint="it must call context.run_migrations(), and let its errors through",
            )
        return report


@contextmanager
def database(context: CheckContext, template: str = "", suffix: str = "") -> Iterator[str]:
    """A scratch database: empty, or a template's clone without what makes it resettable."""
    server, name = context.server, context.scratch + suffix
    server.lease(name)
    try:
        server.drop(name)  # of a worker of this run that was killed
        mark = Mark("scratch", context.run)
        if template and server.find(template):
            server.clone(template, name, mark)
            url = server.url.set(database=name)
            uninstall(url, context.tracking, timeout=server.timeout)
        else:
            server.create(name, mark)
        yield name
    finally:
        with suppress(PgTemplateError):  # a sweep will do it: what went wrong first tells more
            server.release(name)
            server.drop(name)
