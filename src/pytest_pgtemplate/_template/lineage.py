"""The lineage of a schema: its revisions, so that a build can start from an older template.

The mark of a template stores its heads and a digest of them with their ancestors. A build computes
that digest from its own files. If both are equal, the template contains exactly those revisions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple


class Revision(NamedTuple):
    """A revision: the names of the revisions that it needs, and the digest of its file."""

    down_revisions: frozenset[str]
    digest: bytes


class Lineage(NamedTuple):
    """``base``: what else determines the schema. ``revisions``: all of the target, by name."""

    base: tuple[bytes, ...]
    revisions: Mapping[str, Revision]

    @property
    def heads(self) -> tuple[str, ...]:
        followed = frozenset[str]().union(*(rev.down_revisions for rev in self.revisions.values()))
        return tuple(sorted(self.revisions.keys() - followed))

    def including_ancestors(self, heads: Iterable[str]) -> frozenset[str]:
        """Return ``heads`` and their ancestors; empty if a head is not in this lineage."""
        found: set[str] = set()
        pending = set(heads)
        if not pending <= self.revisions.keys():
            return frozenset()
        while pending:
            found |= pending
            below = set[str]().union(*(self.revisions[name].down_revisions for name in pending))
            pending = below - found
        return frozenset(found)

    def parts(self, applied: Collection[str]) -> Iterator[bytes]:
        """Yield everything that determines the schema after the revisions ``applied``."""
        yield from self.base
        for name in sorted(applied):
            yield name.encode()
            yield self.revisions[name].digest

    def is_on_top_of(self, applied: frozenset[str]) -> bool:
        """Whether the remaining revisions form a line on top of all ``applied`` ones.

        Only then does a build from an empty database certainly run them in the same order.
        """
        added = [self.including_ancestors({name}) for name in self.revisions.keys() - applied]
        in_line = sorted(map(len, added)) == list(range(len(applied) + 1, len(self.revisions) + 1))
        return in_line and all(applied <= ancestors for ancestors in added)


LineageReader = Callable[[], Lineage | None]  # takes some ms, so it is called only for a build
