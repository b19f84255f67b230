"""Explain why a template is built: the differences from the most similar earlier template.

The names and digests of the files of each template are stored in the user's cache.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pytest_pgtemplate._template.alembic import Alembic
from pytest_pgtemplate._template.digests import digest_parts
from pytest_pgtemplate._template.migrations import Command, Migrations, SqlFiles

FILES_PER_PREFIX = 10  # templates stored per prefix
NAMES_SHOWN = 5

Parts = dict[str, str]  # name of a file or option -> digest


def digest_by_name(
    migrations: Migrations, files: Iterable[Path], root: Path, others: Mapping[str, Iterable[bytes]]
) -> Parts:
    """Return the digests of all files, by path relative to ``root``, and of ``others``."""
    contents = [(path, path.read_bytes()) for path in files]
    if isinstance(migrations, Alembic | SqlFiles | Command):
        contents += migrations.contents()
    else:
        others = {**others, "pg_migrations": migrations.fingerprint()}
    parts = {os.path.relpath(path, root): _digest([content]) for path, content in contents}
    return parts | {name: _digest(values) for name, values in others.items()}


def save_parts(directory: Path, name: str, parts: Parts) -> None:
    """Store the parts of the template ``name``. Errors are ignored: they only explain builds."""
    with suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.json").write_text(json.dumps(parts), "utf-8")
        for old in _newest_first(directory, name)[FILES_PER_PREFIX:]:
            old.unlink(missing_ok=True)


def explain_build(directory: Path, name: str, parts: Parts) -> str:
    """Return the reason as text; empty if no earlier template of this prefix is known."""
    known = {path.stem: _read(path) for path in _newest_first(directory, name)}
    if name in known:
        return "the same template is no longer on this server"
    if not known:
        return ""
    changes = {other: _changes(known[other], parts) for other in known}
    nearest = min(changes, key=lambda other: sum(map(len, changes[other].values())))
    return f"{_format_changes(changes[nearest])} since {nearest}"


def _changes(old: Parts, new: Parts) -> dict[str, list[str]]:
    return {
        "changed": sorted(name for name in new.keys() & old.keys() if old[name] != new[name]),
        "new": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
    }


def _format_changes(kinds: Mapping[str, list[str]]) -> str:
    changes = (f"{kind}: {_shorten(names)}" for kind, names in kinds.items() if names)
    return "; ".join(changes) or "other options"


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if names[NAMES_SHOWN:] else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _newest_first(directory: Path, name: str) -> list[Path]:
    """Return the files of all templates with the same prefix."""
    with suppress(OSError):  # another run removes files
        paths = directory.glob(f"{name.rpartition('_')[0]}_*.json")
        return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)
    return []


def _read(path: Path) -> Parts:
    try:
        parts: Parts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # another run removes or writes the file
        return {}
    return parts


def _digest(parts: Iterable[bytes]) -> str:
    return digest_parts(parts)[:16]
