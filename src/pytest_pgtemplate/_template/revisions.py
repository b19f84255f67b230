"""Parse the declarations in Alembic's revision files, without importing the files."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

from pytest_pgtemplate.errors import MigrationError

_DECLARED = ("revision", "down_revision", "depends_on", "branch_labels", "irreversible")


class Declaration(NamedTuple):
    """The declarations of one file. ``needs``: its down_revision and depends_on."""

    name: str
    down_revisions: frozenset[str]
    needs: frozenset[str]
    labels: frozenset[str]
    downgrade: int | None  # the line of downgrade()
    irreversible: bool


@cache  # the template, its lineage and the checks parse the same files
def parse_declaration(source: bytes) -> Declaration | None:
    """Return the declarations in ``source``. None: it is not a revision.

    Raises SyntaxError, and ValueError if only running the file could give the values.
    """
    values: dict[str, Any] = {}
    tree = ast.parse(source)
    for statement in tree.body:
        for name in _assigned_names(statement):
            if name in values:
                raise ValueError(f"{name} is set more than once")
            values[name] = ast.literal_eval(_assigned_value(statement))
    if "revision" not in values:
        return None
    (name,) = _names(values["revision"])
    down_revisions = frozenset(_names(values.get("down_revision")))
    needs = down_revisions.union(_names(values.get("depends_on")))
    labels = frozenset(_names(values.get("branch_labels")))
    line, raises = _downgrade(tree)
    irreversible = raises or values.get("irreversible") is True
    return Declaration(name, down_revisions, needs, labels, line, irreversible)


class Script(NamedTuple):
    """A revision file and its declarations."""

    file: Path
    declaration: Declaration

    @property
    def name(self) -> str:
        return self.declaration.name


def sort_scripts(files: Iterable[Path]) -> list[Script]:
    """Read revision files; each revision follows those that it needs.

    Raises MigrationError, which names the file, for a lineage that Alembic could not upgrade.
    """
    scripts: dict[str, Script] = {}
    for script in filter(None, map(_read, sorted(files))):
        if script.name in scripts:
            other = scripts[script.name].file
            raise _broken_lineage(f"{script.file}: revision {script.name!r} is also in {other}")
        scripts[script.name] = script
    labels = {label: s.name for s in scripts.values() for label in s.declaration.labels}
    resolved = {s.name: _resolve_names(s, scripts, labels) for s in scripts.values()}
    try:
        graph = {s.name: sorted(s.declaration.needs) for s in resolved.values()}
        return [resolved[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        cycle = ", ".join(str(resolved[name].file) for name in error.args[1][1:])
        raise _broken_lineage(f"revisions need each other: {cycle}") from None


def heads(scripts: Iterable[Script]) -> list[Script]:
    """Return the revisions that no other revision follows."""
    scripts = list(scripts)
    followed = {name for script in scripts for name in script.declaration.down_revisions}
    return [script for script in scripts if script.name not in followed]


def ancestors(names: Iterable[str], scripts: Iterable[Script]) -> set[str]:
    """Return all revisions that ``names`` need, directly or indirectly."""
    known = {script.name: script.declaration for script in scripts}
    found: set[str] = set()
    pending = [need for name in names for need in known[name].needs]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += known[name].needs
    return found


def _assigned_names(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return  # another scope
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in _DECLARED:
            yield node.id


def _assigned_value(statement: ast.stmt) -> ast.expr:
    """Return the value of an unconditional, simple assignment. Raises ValueError otherwise."""
    match statement:
        case ast.AnnAssign():
            return statement.value or ast.Constant(None)
        case ast.Assign() if all(isinstance(target, ast.Name) for target in statement.targets):
            return statement.value
    raise ValueError("an assignment is conditional or unpacks a value")


def _names(value: Any) -> Iterator[str]:
    """Yield the names in None, a string or a sequence, as Alembic does."""
    for name in value if isinstance(value, tuple | list | set) else (value,):
        if isinstance(name, str):
            yield name
        elif name is not None:
            raise ValueError(f"{name!r} is not the name of a revision")


def _downgrade(tree: ast.Module) -> tuple[int | None, bool]:
    """Return the line of downgrade(), and whether it raises NotImplementedError."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade":
            return node.lineno, any(map(_raises_not_implemented, node.body))
    return None, False


def _raises_not_implemented(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Raise):
        return False
    raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


def _read(file: Path) -> Script | None:
    try:
        declaration = parse_declaration(file.read_bytes())
    except SyntaxError as error:
        raise _broken_lineage(f"{file}:{error.lineno}: {error.msg}") from None
    except ValueError as error:
        raise _broken_lineage(f"{file} does not declare its revision plainly: {error}") from None
    return None if declaration is None else Script(file, declaration)


def _resolve_names(
    script: Script, scripts: Mapping[str, Script], labels: Mapping[str, str]
) -> Script:
    """Replace branch labels and abbreviated names, which Alembic also accepts, by full names."""

    def resolve(name: str) -> str:
        if name in scripts:
            return name
        matches = [labels[name]] if name in labels else [n for n in scripts if n.startswith(name)]
        if len(matches) != 1:
            raise _broken_lineage(f"{script.file} needs revision {name!r}, which is in no file")
        return matches[0]

    old = script.declaration
    down_revisions, needs = (
        frozenset(map(resolve, names)) for names in (old.down_revisions, old.needs)
    )
    return script._replace(declaration=old._replace(down_revisions=down_revisions, needs=needs))


def _broken_lineage(reason: str) -> MigrationError:
    hint = "correct the file; `alembic history` shows the rest"
    return MigrationError(f"the lineage is broken: {reason}", hint=hint)
