"""What came of a check, in words: the file, the revision, the objects, and not much more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pytest_pgtemplate._reset import Change, describe
from pytest_pgtemplate._template import Script


class Verdict(NamedTuple):
    """``outcome`` is "passed", "failed" or "skipped"; ``text`` says why."""

    outcome: str
    text: str = ""


PASSED = Verdict("passed")


def revision_verdict(script: Script, report: dict[str, Any], home: Path) -> Verdict:
    """What the walk reported of a revision; file names are relative to ``home``."""
    name = f"revision {script.name}"
    at_downgrade = _place(script.file, script.downgrade, home)
    if report.get("absent"):
        return Verdict("skipped", f"{name} is no part of pg_revision")
    if report.get("irreversible"):
        raised = report["error"].partition("\n")[0]
        return Verdict("skipped", f"{name} is irreversible: its downgrade raises {raised}")
    if step := report.get("failed"):
        place = _place(script.file, report["line"], home)
        after = " after the downgrade" if step == "second upgrade" else ""
        step = step.removeprefix("second ")
        return Verdict("failed", f"{place}: the {step} of {name} fails{after}: {report['error']}")
    if changes := report.get("downgraded"):
        what = f"{at_downgrade}: the downgrade of {name} does not undo its upgrade"
        return _difference_verdict(what, changes)
    if report["again"]:
        return _difference_verdict(
            f"{at_downgrade}: upgraded again after its downgrade, {name} gives something else",
            report["again"],
        )
    return PASSED


def models_verdict(report: dict[str, Any] | None) -> Verdict:
    if report is None:
        return Verdict("skipped", "env.py gives context.configure() no target_metadata")
    lines = []
    if report["missing"]:
        lines += [
            "the models say what no migration does:",
            *(f"  {op}" for op in report["missing"]),
        ]
    if report["empty"]:
        return Verdict("failed", "target_metadata in env.py is empty: import the models in env.py")
    if report["unknown"]:
        lines.append(f"no model knows: {', '.join(report['unknown'])}")
    return Verdict("failed", "\n".join(lines)) if lines else PASSED


def build_verdict(template: str, changes: list[Change]) -> Verdict:
    """``changes``: from what the template holds to what the migrations build from nothing."""
    if not changes:
        return PASSED
    return _difference_verdict(
        f"built from nothing, the schema is not that of template {template}", changes
    )


def _place(file: Path, line: int | None, home: Path) -> str:
    shown = file.relative_to(home) if file.is_relative_to(home) else file
    return f"{shown}:{line}" if line else f"{shown}"


def _difference_verdict(what: str, changes: list[Change]) -> Verdict:
    return Verdict("failed", "\n  ".join([what, *describe(changes)]))
