"""The revisions of an Alembic environment, as Alembic itself has told them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pytest_pgtemplate.errors import MigrationError

KEPT = 50  # answers that the cache holds


class Script(NamedTuple):
    """A revision. ``needs``: the revisions that it follows, and those that it depends on."""

    name: str
    file: Path
    down_revisions: frozenset[str]
    needs: frozenset[str]
    downgrade: int | None  # the line in which it begins
    irreversible: bool


Ask = Callable[[Path], None]  # have Alembic's answer written to a file


def read_answer(file: Path) -> list[Script] | None:
    """The revisions in order: each comes after those that it needs. None: there is no answer."""
    try:
        answer = json.loads(file.read_text("utf-8"))
        return [
            Script(
                each["name"],
                Path(each["file"]),
                frozenset(each["down_revisions"]),
                frozenset(each["needs"]),
                each["downgrade"],
                each["irreversible"],
            )
            for each in answer
        ]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def ask_once(file: Path, ask: Ask, timeout: float) -> list[Script]:
    """The answer in ``file``; if there is none, one of all processes asks for it.

    Raises MigrationError.
    """
    from pytest_pgtemplate._server.file_locks import Timeout, acquire, file_lock

    answer = read_answer(file)
    if answer is not None:
        return answer
    lock = file_lock(file.with_name("revisions.lock"))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with acquire(lock, timeout=timeout, poll_interval=0.05):
            answer = read_answer(file)
            if answer is None:
                answer = _asked(file, ask)
                _prune(file.parent)
    except (OSError, NotImplementedError, Timeout):  # there is no cache, or somebody hangs
        with TemporaryDirectory() as directory:
            answer = _asked(Path(directory, "revisions.json"), ask)
    return answer


def _asked(file: Path, ask: Ask) -> list[Script]:
    ask(file)
    answer = read_answer(file)
    if answer is None:
        raise MigrationError(
            "Alembic did not tell its revisions", hint="run `alembic history`, which may say why"
        )
    return answer


def _prune(directory: Path) -> None:
    with suppress(OSError):  # another run prunes, too
        files = sorted(directory.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for old in files[:-KEPT]:
            old.unlink(missing_ok=True)


def heads(scripts: Iterable[Script]) -> list[Script]:
    """Those that no other follows."""
    scripts = list(scripts)
    followed = {name for each in scripts for name in each.down_revisions}
    return [each for each in scripts if each.name not in followed]


def ancestors(names: Iterable[str], scripts: Iterable[Script]) -> set[str]:
    """All that ``names`` need, whether straight or through others."""
    known = {each.name: each for each in scripts}
    found: set[str] = set()
    ahead = [need for name in names for need in known[name].needs]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += known[name].needs
    return found
