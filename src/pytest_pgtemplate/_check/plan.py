"""What is left to prove of a lineage, from where to start, and in how many pieces.

What was proved is remembered in the mark of a template, by what a revision and all that it needs
say: whoever changes one of them has to prove it, and what comes after, again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple

from pytest_pgtemplate._template import Origin, Script, ancestors, nearest

SHORTEST = 10  # revisions of a piece, which costs the start of a process
WALK = 4  # what up, down and up again cost, where a plain upgrade costs 1
BUILD = "build"  # what a proof of the template's build is remembered as


class Plan(NamedTuple):
    """``start``: a template that holds nothing unproved, or none. The last piece may be empty."""

    start: str
    pieces: list[list[str]]
    proved: list[str]


def keys(scripts: Iterable[Script], around: Iterable[bytes]) -> dict[str, str]:
    """A digest for each revision: of its file, all that it needs, and what is around them."""
    base = _digest([_functions().encode(), *around])
    found: dict[str, str] = {}
    for each in scripts:
        needs = sorted(found[name] for name in each.says.needs)
        found[each.name] = _digest([base.encode(), each.file.read_bytes(), *map(str.encode, needs)])
    return found


def checked(scripts: Sequence[Script], since: str | None) -> list[Script]:
    """Those that somebody may want to go down from: above the floor, which no one goes below."""
    floor = [each.name for each in scripts if each.says.irreversible]
    below = ancestors([*floor, *([since] if since else [])], scripts)
    return [each for each in scripts if each.name not in below]


def make(
    wanted: Sequence[str], key_of: Mapping[str, str], known: Collection[str], workers: int
) -> tuple[list[str], list[list[str]]]:
    """What of ``wanted`` is proved already, and the pieces that the rest is walked in."""
    proved = [name for name in wanted if key_of[name] in known]
    todo = [name for name in wanted if key_of[name] not in known]
    return proved, _cut(todo, min(workers, len(todo) // SHORTEST) or 1)


def start(origins: Iterable[Origin], pieces: Iterable[Iterable[str]]) -> str:
    """The template that holds the most of what is not to be walked, and nothing else."""
    todo = {name for piece in pieces for name in piece}
    found = nearest(origin for origin in origins if origin.held.isdisjoint(todo))
    return found.name if found else ""


def _cut(todo: list[str], pieces: int) -> list[list[str]]:
    """Pieces that take equally long: a later one has to come further before it begins."""
    share = (WALK - 1) / WALK
    bounds = [round(len(todo) * (1 - share**n) / (1 - share**pieces)) for n in range(pieces + 1)]
    return [todo[low:high] for low, high in pairwise(bounds)]


def _functions() -> str:
    scripts = files("pytest_pgtemplate._check").iterdir()
    return "\0".join(sorted(f.read_text("utf-8") for f in scripts if f.name.endswith(".sql")))


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:16]
