"""Why a template is built: what has changed since the one most like it that was built here.

What each was made of is kept in the user's cache, by name and digest.
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

FILES_PER_PREFIX = 10  # templates of a prefix
NAMES_SHOWN = 5  # names of one kind

Parts = dict[str, str]  # digests, by what people call it


def digest_by_name(
    migrations: Migrations, files: Iterable[Path], home: Path, others: Mapping[str, Iterable[bytes]]
) -> Parts:
    """Every file by its path from ``home``, and ``others`` by their names."""
    contents = [(path, path.read_bytes()) for path in files]
    if isinstance(migrations, Alembic | SqlFiles | Command):
        contents += migrations.contents()
    else:
        others = {**others, "pg_migrations": migrations.fingerprint()}
    parts = {os.path.relpath(path, home): _digest([content]) for path, content in contents}
    return parts | {name: _digest(those) for name, those in others.items()}


def save_parts(directory: Path, name: str, parts: Parts) -> None:
    """Keep what the template ``name`` is made of. It is never worth an error."""
    with suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.json").write_text(json.dumps(parts), "utf-8")
        for old in _newest_first(directory, name)[FILES_PER_PREFIX:]:
            old.unlink(missing_ok=True)


def explain_build(directory: Path, name: str, parts: Parts) -> str:
    """In words; "" when nothing is known of an earlier one."""
    known = {path.stem: _read(path) for path in _newest_first(directory, name)}
    if name in known:
        return "its like having gone from this server"
    if not known:
        return ""
    changes = {each: _changes(known[each], parts) for each in known}
    nearest_origin = min(changes, key=lambda each: sum(map(len, changes[each].values())))
    return f"{_format_changes(changes[nearest_origin])} since {nearest_origin}"


def _changes(old: Parts, new: Parts) -> dict[str, list[str]]:
    return {
        "changed": sorted(name for name in new.keys() & old.keys() if old[name] != new[name]),
        "new": sorted(new.keys() - old.keys()),
        "gone": sorted(old.keys() - new.keys()),
    }


def _format_changes(kinds: Mapping[str, list[str]]) -> str:
    changes = (f"{kind}: {_shorten(names)}" for kind, names in kinds.items() if names)
    return "; ".join(changes) or "other options"


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if names[NAMES_SHOWN:] else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _newest_first(directory: Path, name: str) -> list[Path]:
    """The files of all templates with the prefix of this one."""
    with suppress(OSError):  # another run clears up
        found = directory.glob(f"{name.rpartition('_')[0]}_*.json")
        return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    return []


def _read(path: Path) -> Parts:
    try:
        parts: Parts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # another run clears up, or writes
        return {}
    return parts


def _digest(parts: Iterable[bytes]) -> str:
    return digest_parts(parts)[:16]
