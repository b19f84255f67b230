"""What files of Alembic's declare: read, not imported."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

from pytest_pgtemplate.errors import MigrationError

_DECLARED = ("revision", "down_revision", "depends_on", "branch_labels", "irreversible")


class Declared(NamedTuple):
    """What one file says. ``needs``: those that it follows, and those that it depends on."""

    name: str
    down_revisions: frozenset[str]
    needs: frozenset[str]
    labels: frozenset[str]
    downgrade: int | None  # the line that it begins in
    irreversible: bool


@cache  # the template, its lineage and the checks all ask
def declared(source: bytes) -> Declared | None:
    """What is declared in ``source``; None when it is no revision.

    Raises ValueError when only running the file could tell, and SyntaxError.
    """
    told: dict[str, Any] = {}
    tree = ast.parse(source)
    for statement in tree.body:
        for name in _assigned(statement):
            if name in told:
                raise ValueError(f"{name} is set more than once")
            told[name] = ast.literal_eval(_value(statement))
    if "revision" not in told:
        return None
    (name,) = _names(told["revision"])
    down_revisions = frozenset(_names(told.get("down_revision")))
    needs = down_revisions.union(_names(told.get("depends_on")))
    labels = frozenset(_names(told.get("branch_labels")))
    line, refuses = _downgrade(tree)
    return Declared(
        name, down_revisions, needs, labels, line, refuses or told.get("irreversible") is True
    )


class Script(NamedTuple):
    """A revision: its file, and what that declares."""

    file: Path
    says: Declared

    @property
    def name(self) -> str:
        return self.says.name


def in_order(files: Iterable[Path]) -> list[Script]:
    """Read revisions; each comes after those that it needs.

    Raises MigrationError, which names the file, for a lineage that Alembic could not walk.
    """
    found: dict[str, Script] = {}
    for script in filter(None, map(_read, sorted(files))):
        if script.name in found:
            other = found[script.name].file
            raise _broken(f"{script.file}: revision {script.name!r} is in {other}, too")
        found[script.name] = script
    labels = {label: each.name for each in found.values() for label in each.says.labels}
    known = {each.name: _resolved(each, found, labels) for each in found.values()}
    try:
        graph = {each.name: sorted(each.says.needs) for each in known.values()}
        return [known[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        cycle = ", ".join(str(known[name].file) for name in error.args[1][1:])
        raise _broken(f"revisions need each other: {cycle}") from None


def heads(scripts: Iterable[Script]) -> list[Script]:
    """Those that no other follows."""
    scripts = list(scripts)
    followed = {name for each in scripts for name in each.says.down_revisions}
    return [each for each in scripts if each.name not in followed]


def ancestors(names: Iterable[str], scripts: Iterable[Script]) -> set[str]:
    """All that ``names`` need, whether straight or through others."""
    known = {each.name: each.says for each in scripts}
    found: set[str] = set()
    ahead = [need for name in names for need in known[name].needs]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += known[name].needs
    return found


def _assigned(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return  # names of its own
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in _DECLARED:
            yield node.id


def _value(statement: ast.stmt) -> ast.expr:
    """What a statement sets its names to: all of them, and in any case."""
    match statement:
        case ast.AnnAssign():
            return statement.value or ast.Constant(None)
        case ast.Assign() if all(isinstance(each, ast.Name) for each in statement.targets):
            return statement.value
    raise ValueError("a name is set on a condition, or to a part of something")


def _names(value: Any) -> Iterator[str]:
    """As Alembic reads it: nothing, one, or several."""
    for name in value if isinstance(value, tuple | list | set) else (value,):
        if isinstance(name, str):
            yield name
        elif name is not None:
            raise ValueError(f"{name!r} names no revision")


def _downgrade(tree: ast.Module) -> tuple[int | None, bool]:
    """Where it begins, and whether it says ``raise NotImplementedError``."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade":
            return node.lineno, any(map(_refuses, node.body))
    return None, False


def _refuses(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Raise):
        return False
    raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


def _read(file: Path) -> Script | None:
    try:
        says = declared(file.read_bytes())
    except SyntaxError as error:
        raise _broken(f"{file}:{error.lineno}: {error.msg}") from None
    except ValueError as error:
        raise _broken(f"{file} does not say plainly what it is: {error}") from None
    return None if says is None else Script(file, says)


def _resolved(script: Script, found: Mapping[str, Script], labels: Mapping[str, str]) -> Script:
    """Put names for the labels and parts of names that Alembic takes for them, too."""

    def resolve(name: str) -> str:
        if name in found:
            return name
        matches = [labels[name]] if name in labels else [n for n in found if n.startswith(name)]
        if len(matches) != 1:
            raise _broken(f"{script.file} needs revision {name!r}, which is in no file")
        return matches[0]

    down_revisions, needs = (
        frozenset(map(resolve, names)) for names in (script.says.down_revisions, script.says.needs)
    )
    return script._replace(says=script.says._replace(down_revisions=down_revisions, needs=needs))


def _broken(what: str) -> MigrationError:
    return MigrationError(
        f"the lineage is broken: {what}", hint="correct the file; `alembic history` shows the rest"
    )
