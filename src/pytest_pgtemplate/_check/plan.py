"""Plan the checks: which revisions are not proved yet, and how to divide them among workers.

The mark of a template stores what was proved, as digests of a revision and everything it needs. If
a revision changes, it and all later revisions are checked again.
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

MIN_PIECE = 10  # revisions per piece, because each piece starts a process
WALK_COST = 4  # cost of up, down and up again, relative to an upgrade
BUILD = "build"  # the entry in Mark.proved for the build of the template


class Plan(NamedTuple):
    """``start``: a template without unproved revisions, or "". The last piece may be empty."""

    start: str
    pieces: list[list[str]]
    proved: list[str]
    failed: dict[str, str]  # the texts of those that are known to fail


def keys(scripts: Iterable[Script], environment_parts: Iterable[bytes]) -> dict[str, str]:
    """Return a digest of each revision: of its file, everything it needs, and the environment."""
    base = _digest(["\0".join(object_functions()).encode(), *environment_parts]).encode()
    digests: dict[str, str] = {}
    for script in scripts:
        needs = sorted(digests[name].encode() for name in script.needs)
        digests[script.name] = _digest([base, script.file.read_bytes(), *needs])
    return digests


def checked(scripts: Sequence[Script], since: str | None) -> list[Script]:
    """Return the revisions that can be downgraded: not below ``since`` or an irreversible one."""
    floor = [script.name for script in scripts if script.irreversible]
    below = ancestors([*floor, *([since] if since else [])], scripts)
    return [script for script in scripts if script.name not in below]


def make(
    wanted: Sequence[str],
    key_of: Mapping[str, str],
    known: Collection[str],
    workers: int,
    *,
    builds: bool,
) -> tuple[list[str], list[list[str]]]:
    """Return which of ``wanted`` are proved already, and the pieces of the rest.

    ``builds``: one of the workers has to build the template first, so it has less time.
    """
    proved = [name for name in wanted if key_of[name] in known]
    todo = [name for name in wanted if key_of[name] not in known]
    walkers = workers - 1 if builds and workers >= WALK_COST else workers  # it would come too late
    pieces = min(walkers, len(todo) // MIN_PIECE) or 1
    return proved, _cut(todo, pieces, late=int(builds and pieces == workers))


def start(origins: Iterable[OriginTemplate], pieces: Iterable[Iterable[str]]) -> str:
    """Return the template with the most revisions, none of them in ``pieces``; or ""."""
    todo = {name for piece in pieces for name in piece}
    nearest = nearest_origin(origin for origin in origins if origin.applied.isdisjoint(todo))
    return nearest.name if nearest else ""


def _cut(todo: list[str], pieces: int, late: int) -> list[list[str]]:
    """Cut pieces that end at the same time: a later piece begins with a longer upgrade.

    ``late``: 1 if the worker with the last piece builds the template first, else 0.
    """
    share = (WALK_COST - 1) / WALK_COST
    time = (WALK_COST + late) / (WALK_COST - (WALK_COST - 1) * share ** (pieces - 1))
    bounds = [round(len(todo) * time * (1 - share**n)) for n in range(pieces)]
    return [todo[low:high] for low, high in pairwise([*bounds, len(todo)])]


def _digest(parts: Iterable[bytes]) -> str:
    return digest_parts(parts)[:16]
