"""Format the result of a check: the file, the revision and the objects that differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pytest_pgtemplate._reset import Change, describe
from pytest_pgtemplate._template import Script


class Verdict(NamedTuple):
    """``outcome`` is "passed", "failed" or "skipped"; ``text`` is the reason.

    ``transient``: the server, not the revision, is the reason, so the next check tries again.
    """

    outcome: str
    text: str = ""
    transient: bool = False


PASSED = Verdict("passed")


def revision_verdict(
    script: Script, report: dict[str, Any], root: Path, *, column_order: bool
) -> Verdict:
    """Return the verdict on a revision; file names are relative to ``root``.

    ``column_order``: whether a downgrade has to restore the order of columns.
    """
    name = f"revision {script.name}"
    at_downgrade = _place(script.file, script.downgrade, root)
    if report.get("absent"):
        return Verdict("skipped", f"{name} is not part of pg_revision")
    if report.get("irreversible"):
        raised = report["error"].partition("\n")[0]
        return Verdict("skipped", f"{name} is irreversible: its downgrade raises {raised}")
    if step := report.get("failed"):
        place = _place(script.file, report["line"], root)
        after = " after the downgrade" if step == "second upgrade" else ""
        step = step.removeprefix("second ")
        text = f"{place}: the {step} of {name} fails{after}: {report['error']}"
        return Verdict("failed", text, transient=report.get("transient", False))
    downgraded, again = (
        [each for each in report.get(part, ()) if column_order or not _is_column_order(each)]
        for part in ("downgraded", "again")
    )
    if downgraded:
        if all(map(_is_column_order, downgraded)):
            return Verdict(
                "failed",
                f"{at_downgrade}: the downgrade of {name} restores the columns in another order,"
                " which PostgreSQL cannot avoid; pg_check_column_order = false allows it",
            )
        title = f"{at_downgrade}: the downgrade of {name} does not undo its upgrade"
        return _difference_verdict(title, downgraded)
    if again:
        title = f"{at_downgrade}: the second upgrade of {name}, after its downgrade, differs"
        return _difference_verdict(title, again)
    return PASSED


def _is_column_order(change: Change) -> bool:
    _, name, before, after = change
    return (
        name.startswith("columns of ")
        and before is not None
        and after is not None
        and sorted(before.split(", ")) == sorted(after.split(", "))
    )


def models_verdict(report: dict[str, Any] | None) -> Verdict:
    if report is None:
        return Verdict("skipped", "env.py passes no target_metadata to context.configure()")
    lines = []
    if report["missing"]:
        lines = ["the models differ from the migrations:"]
        lines += [f"  {op}" for op in report["missing"]]
    if report["empty"]:
        return Verdict("failed", "target_metadata in env.py is empty: import the models in env.py")
    if report["unknown"]:
        lines.append(f"tables without a model: {', '.join(report['unknown'])}")
    return Verdict("failed", "\n".join(lines)) if lines else PASSED


def build_verdict(template: str, changes: list[Change]) -> Verdict:
    """Return the verdict on the ``changes`` from the template to a build from scratch."""
    if not changes:
        return PASSED
    title = f"built from an empty database, the schema differs from template {template}"
    return _difference_verdict(title, changes)


def _place(file: Path, line: int | None, root: Path) -> str:
    path = file.relative_to(root) if file.is_relative_to(root) else file
    return f"{path}:{line}" if line else f"{path}"


def _difference_verdict(title: str, changes: list[Change]) -> Verdict:
    return Verdict("failed", "\n  ".join([title, *describe(changes)]))
