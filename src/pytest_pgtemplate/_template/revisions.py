"""The revisions of an Alembic environment. Alembic lists them, and the list is cached."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pytest_pgtemplate.errors import MigrationError

MAX_FILES = 50  # lists in the cache


class Script(NamedTuple):
    """A revision. ``needs``: its down_revisions, and the revisions that it depends on."""

    name: str
    file: Path
    down_revisions: frozenset[str]
    needs: frozenset[str]
    downgrade: int | None  # the first line of its downgrade()
    irreversible: bool


WriteList = Callable[[Path], None]  # lets Alembic write its revisions to a file


def read_list(file: Path) -> list[Script] | None:
    """Return the revisions, each after those that it needs. None: the file has no list."""
    try:
        scripts = json.loads(file.read_text("utf-8"))
        return [
            Script(
                each["name"],
                Path(each["file"]),
                frozenset(each["down_revisions"]),
                frozenset(each["needs"]),
                each["downgrade"],
                each["irreversible"],
            )
            for each in scripts
        ]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def read_or_create_list(file: Path, write_list: WriteList, timeout: float) -> list[Script]:
    """Return the list in ``file``. If there is none, one of all processes creates it.

    Raises MigrationError.
    """
    from pytest_pgtemplate._server.file_locks import Timeout, acquire, file_lock

    scripts = read_list(file)
    if scripts is not None:
        return scripts
    lock = file_lock(file.with_name("revisions.lock"))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with acquire(lock, timeout=timeout, poll_interval=0.05):
            scripts = read_list(file)
            if scripts is None:
                scripts = _create_list(file, write_list)
                _prune(file.parent)
    except (OSError, NotImplementedError, Timeout):  # no cache directory, or another process hangs
        with TemporaryDirectory() as directory:
            scripts = _create_list(Path(directory, "revisions.json"), write_list)
    return scripts


def _create_list(file: Path, write_list: WriteList) -> list[Script]:
    write_list(file)
    scripts = read_list(file)
    if scripts is None:
        raise MigrationError(
            "Alembic did not list its revisions", hint="run `alembic history`, which may show why"
        )
    return scripts


def _prune(directory: Path) -> None:
    with suppress(OSError):  # another run prunes, too
        files = sorted(directory.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for old in files[:-MAX_FILES]:
            old.unlink(missing_ok=True)


def heads(scripts: Iterable[Script]) -> list[Script]:
    """Return the revisions that are not the down_revision of another one."""
    scripts = list(scripts)
    followed = {name for each in scripts for name in each.down_revisions}
    return [each for each in scripts if each.name not in followed]


def ancestors(names: Iterable[str], scripts: Iterable[Script]) -> set[str]:
    """Return all revisions that ``names`` need, directly or indirectly."""
    known = {each.name: each for each in scripts}
    found: set[str] = set()
    ahead = [need for name in names for need in known[name].needs]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += known[name].needs
    return found
