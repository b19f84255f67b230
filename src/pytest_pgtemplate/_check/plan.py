"""What is left to prove of a lineage, from where to start, and in how many pieces.

What was proved is remembered in the mark of a template, by what a revision and all that it needs
say: whoever changes one of them has to prove it, and what comes after, again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from pytest_pgtemplate._reset import object_functions
from pytest_pgtemplate._template import (
    OriginTemplate,
    Script,
    ancestors,
    digest_parts,
    nearest_origin,
)

MIN_PIECE = 10  # revisions of a piece, which costs the start of a process
WALK_COST = 4  # what up, down and up again cost, where a plain upgrade costs 1
BUILD = "build"  # what a proof of the template's build is remembered as


class Plan(NamedTuple):
    """``start``: a template that holds nothing unproved, or none. The last piece may be empty."""

    start: str
    pieces: list[list[str]]
    proved: list[str]


def keys(scripts: Iterable[Script], environment_parts: Iterable[bytes]) -> dict[str, str]:
    """A digest for each revision: of its file, all that it needs, and what else decides it."""
    base = _digest(["\0".join(object_functions()).encode(), *environment_parts])
    found: dict[str, str] = {}
    for each in scripts:
        needs = sorted(found[name] for name in each.needs)
        found[each.name] = _digest([base.encode(), each.file.read_bytes(), *map(str.encode, needs)])
    return found


def checked(scripts: Sequence[Script], since: str | None) -> list[Script]:
    """Those that somebody may want to go down from: above the floor, which no one goes below."""
    floor = [each.name for each in scripts if each.irreversible]
    below = ancestors([*floor, *([since] if since else [])], scripts)
    return [each for each in scripts if each.name not in below]


def make(
    wanted: Sequence[str],
    key_of: Mapping[str, str],
    known: Collection[str],
    workers: int,
    *,
    builds: bool,
) -> tuple[list[str], list[list[str]]]:
    """What of ``wanted`` is proved already, and the pieces that the rest is walked in.

    ``builds``: one of the workers has to build the template first, which leaves it less time.
    """
    proved = [name for name in wanted if key_of[name] in known]
    todo = [name for name in wanted if key_of[name] not in known]
    walkers = workers - 1 if builds and workers >= WALK_COST else workers  # it would come too late
    pieces = min(walkers, len(todo) // MIN_PIECE) or 1
    return proved, _cut(todo, pieces, late=int(builds and pieces == workers))


def start(find_origins: Iterable[OriginTemplate], pieces: Iterable[Iterable[str]]) -> str:
    """The template that holds the most of what is not to be walked, and nothing else."""
    todo = {name for piece in pieces for name in piece}
    found = nearest_origin(origin for origin in find_origins if origin.applied.isdisjoint(todo))
    return found.name if found else ""


def _cut(todo: list[str], pieces: int, late: int) -> list[list[str]]:
    """Pieces that end at the same time: a later one has to come further before it begins.

    ``late``: how often who walks the last one has upgraded the lineage before.
    """
    share = (WALK_COST - 1) / WALK_COST
    time = (WALK_COST + late) / (
        WALK_COST - (WALK_COST - 1) * share ** (pieces - 1)
    )  # of one revision
    bounds = [round(len(todo) * time * (1 - share**n)) for n in range(pieces)]
    return [todo[low:high] for low, high in pairwise([*bounds, len(todo)])]


def _digest(parts: Iterable[bytes]) -> str:
    return digest_parts(parts)[:16]
