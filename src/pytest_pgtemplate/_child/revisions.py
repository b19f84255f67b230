"""In the child process: let Alembic read the revision files, and write the result to a file.

Only Alembic can do this: a revision file is a program, which may compute its declarations.
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
    """Write the list to ``job["revisions_file"]``. Raises MigrationError for a broken lineage."""
    from alembic.script import ScriptDirectory

    write_list(ScriptDirectory.from_config(make_config(job)), Path(job["revisions_file"]))


def make_config(job: dict[str, Any]) -> Config:
    """Return Alembic's configuration. Raises MigrationError."""
    from alembic.config import Config

    knows_toml = hasattr(Config, "get_alembic_option")
    if not job["ini"] and not knows_toml:
        raise MigrationError(
            f"{job['toml']} has a [tool.alembic] table, which requires Alembic 1.16",
            hint="pip install 'alembic>=1.16', or write an alembic.ini",
        )
    toml = {"toml_file": job["toml"]} if job["toml"] and knows_toml else {}
    return Config(job["ini"], **toml)


def write_list(directory: ScriptDirectory, file: Path) -> None:
    """Write the revisions to ``file``. The rename is atomic: other processes may read the file."""
    scripts = _describe(directory)
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_suffix(f".{os.getpid()}")
    scratch.write_text(json.dumps(scripts), "utf-8")
    scratch.replace(file)


def _describe(directory: ScriptDirectory) -> list[dict[str, Any]]:
    """Return the revisions; each follows those that it needs."""
    from alembic.util import CommandError

    scripts = _load(directory)
    _check_names(scripts)
    try:
        ordered = reversed(list(directory.walk_revisions()))
        return [_describe_script(script, directory) for script in ordered]
    except CommandError as error:
        cycle = getattr(error.__cause__, "revisions", ())
        files = (script.path for script in scripts if script.revision in cycle)
        raise _broken_lineage(f"{error}: {', '.join(files)}") from error


def _load(directory: ScriptDirectory) -> list[Script]:
    """Import every revision file."""
    from alembic.script.revision import CycleDetected

    from pytest_pgtemplate._internals.alembic import load_scripts

    try:
        return load_scripts(directory)
    except CycleDetected as error:  # a revision that needs itself: raised after its import
        files = ", ".join(_files_naming(error.revisions, directory))
        raise _broken_lineage(f"{error}: {files}") from error
    except Exception as error:
        message = "".join(traceback.format_exception_only(error)).strip()
        raise _broken_lineage(f"{_place(error, directory)}{message}") from error


def _files_naming(revisions: Iterable[str], directory: ScriptDirectory) -> list[str]:
    """Return the revision files whose text contains one of the names."""
    from pytest_pgtemplate._internals.alembic import version_directories

    files = (file for each in version_directories(directory) for file in Path(each).rglob("*.py"))
    texts = {str(file): file.read_text("utf-8", "replace") for file in files}
    return sorted(file for file, text in texts.items() if any(name in text for name in revisions))


def _place(error: Exception, directory: ScriptDirectory) -> str:
    """Return the revision file and line that raised ``error``, or an empty string."""
    from pytest_pgtemplate._internals.alembic import version_directories

    places = [
        f"{frame.filename}:{frame.lineno}: " for frame in traceback.extract_tb(error.__traceback__)
    ]
    if isinstance(error, SyntaxError):
        places.append(f"{error.filename}:{error.lineno}: ")
    versions = tuple(f"{each}{os.sep}" for each in version_directories(directory))
    return next((place for place in reversed(places) if place.startswith(versions)), "")


def _check_names(scripts: Iterable[Script]) -> None:
    """Raise MigrationError for duplicate or missing names: Alembic's errors name no file."""
    files: dict[str, str] = {}
    for script in scripts:
        if script.revision in files:
            other = files[script.revision]
            message = f"{script.path}: revision {script.revision!r} is also in {other}"
            raise _broken_lineage(message)
        files[script.revision] = script.path
    known = files.keys() | {label for script in scripts for label in script.branch_labels}
    for script in scripts:
        for need in (*_names(script.down_revision), *_names(script.dependencies)):
            if need not in known:
                message = f"{script.path} needs revision {need!r}, which is in no file"
                raise _broken_lineage(message)


def _names(value: Any) -> tuple[str, ...]:
    """Return the names in None, a string or a sequence."""
    return (value,) if isinstance(value, str) else tuple(value or ())


def _describe_script(script: Script, directory: ScriptDirectory) -> dict[str, Any]:
    line, irreversible = _inspect_downgrade(script)
    down_revisions, dependencies = (
        {found.revision for name in _names(value) if (found := directory.get_revision(name))}
        for value in (script.down_revision, script.dependencies)  # they may be branch labels
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
    """Return the first line of downgrade(), and whether it only raises NotImplementedError."""
    code = getattr(getattr(script.module, "downgrade", None), "__code__", None)
    if code is None or code.co_filename != script.path:
        return None, False
    body: list[ast.stmt] = []
    with suppress(OSError, SyntaxError, ValueError):
        for node in ast.parse(Path(script.path).read_bytes()).body:
            decorators = getattr(node, "decorator_list", ())
            first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
            if isinstance(node, ast.FunctionDef) and first == code.co_firstlineno:
                body = node.body
    return code.co_firstlineno, any(map(_raises_not_implemented, body))


def _raises_not_implemented(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Raise):
        return False
    raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


def _broken_lineage(reason: str) -> MigrationError:
    hint = "correct the file; `alembic history` shows the rest"
    return MigrationError(f"the lineage is broken: {reason}", hint=hint)
