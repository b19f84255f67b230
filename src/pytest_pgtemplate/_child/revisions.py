"""In the child process: ask Alembic which revisions there are, and write down its answer.

Only Alembic knows: a revision file is a program, which may compute what it declares.
"""

from __future__ import annotations

import ast
import json
import os
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_pgtemplate.errors import MigrationError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script, ScriptDirectory


def run(job: dict[str, Any]) -> None:
    """Write the answer to ``job["revisions_file"]``. Raises MigrationError for a broken lineage."""
    from alembic.script import ScriptDirectory

    write_answer(ScriptDirectory.from_config(make_config(job)), Path(job["revisions_file"]))


def make_config(job: dict[str, Any]) -> Config:
    """What Alembic reads of its configuration. Raises MigrationError."""
    from alembic.config import Config

    knows_toml = hasattr(Config, "get_alembic_option")
    if not job["ini"] and not knows_toml:
        raise MigrationError(
            f"{job['toml']} has a [tool.alembic] table, which Alembic reads since version 1.16",
            hint="pip install 'alembic>=1.16', or write an alembic.ini",
        )
    toml = {"toml_file": job["toml"]} if job["toml"] and knows_toml else {}
    return Config(job["ini"], **toml)


def write_answer(directory: ScriptDirectory, file: Path) -> None:
    """Whole or not at all: other processes may write the same file, or read it."""
    answer = _describe(directory)
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = file.with_suffix(f".{os.getpid()}")
    whole.write_text(json.dumps(answer), "utf-8")
    whole.replace(file)


def _describe(directory: ScriptDirectory) -> list[dict[str, Any]]:
    """Each revision comes after those that it needs."""
    from alembic.util import CommandError

    scripts = _load(directory)
    _check_names(scripts)
    try:
        ordered = reversed(list(directory.walk_revisions()))
        return [_describe_script(each, directory) for each in ordered]
    except CommandError as error:
        cycle = getattr(error.__cause__, "revisions", ())
        files = (each.path for each in scripts if each.revision in cycle)
        raise _broken(f"{error}: {', '.join(files)}") from error


def _load(directory: ScriptDirectory) -> list[Script]:
    """Import every revision file."""
    from pytest_pgtemplate._internals.alembic import load_scripts

    try:
        return load_scripts(directory)
    except Exception as error:
        what = "".join(traceback.format_exception_only(error)).strip()
        raise _broken(f"{_file_of(error, directory)}{what}") from error


def _file_of(error: Exception, directory: ScriptDirectory) -> str:
    """Which revision file raised ``error``, and in which line."""
    from pytest_pgtemplate._internals.alembic import version_directories

    places = [
        f"{frame.filename}:{frame.lineno}: " for frame in traceback.extract_tb(error.__traceback__)
    ]
    if isinstance(error, SyntaxError):
        places.append(f"{error.filename}:{error.lineno}: ")
    versions = tuple(f"{each}{os.sep}" for each in version_directories(directory))
    return next((place for place in reversed(places) if place.startswith(versions)), "")


def _check_names(scripts: Iterable[Script]) -> None:
    """Alembic warns of these and fails later, or not at all, and names no file."""
    files: dict[str, str] = {}
    for each in scripts:
        if each.revision in files:
            other = files[each.revision]
            raise _broken(f"{each.path}: revision {each.revision!r} is in {other}, too")
        files[each.revision] = each.path
    known = files.keys() | {label for each in scripts for label in each.branch_labels}
    for each in scripts:
        for need in (*_names(each.down_revision), *_names(each.dependencies)):
            if need not in known:
                raise _broken(f"{each.path} needs revision {need!r}, which is in no file")


def _names(given: Any) -> tuple[str, ...]:
    """As Alembic declares it: none, one or several."""
    return (given,) if isinstance(given, str) else tuple(given or ())


def _describe_script(script: Script, directory: ScriptDirectory) -> dict[str, Any]:
    line, irreversible = _inspect_downgrade(script)
    down_revisions, dependencies = (
        {found.revision for name in _names(given) if (found := directory.get_revision(name))}
        for given in (script.down_revision, script.dependencies)  # they may be branch labels
    )
    return {
        "name": script.revision,
        "file": script.path,
        "down_revisions": sorted(down_revisions),
        "needs": sorted(down_revisions | dependencies),
        "downgrade": line,
        "irreversible": irreversible or getattr(script.module, "irreversible", False) is True,
    }


def _inspect_downgrade(script: Script) -> tuple[int | None, bool]:
    """The line in which the downgrade begins, and whether it does nothing but raise an error."""
    code = getattr(getattr(script.module, "downgrade", None), "__code__", None)
    if code is None or code.co_filename != script.path:
        return None, False
    body: list[ast.stmt] = []
    with suppress(OSError, SyntaxError, ValueError):
        for node in ast.parse(Path(script.path).read_bytes()).body:
            first = min(
                [node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))]
            )
            if isinstance(node, ast.FunctionDef) and first == code.co_firstlineno:
                body = node.body
    return code.co_firstlineno, any(map(_refuses, body))


def _refuses(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Raise):
        return False
    raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


def _broken(what: str) -> MigrationError:
    return MigrationError(
        f"the lineage is broken: {what}", hint="correct the file; `alembic history` shows the rest"
    )
