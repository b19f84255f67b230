"""What a schema came from, revision by revision: so that it need not be built from nothing.

A template remembers the heads of what it holds, and one digest of all below them. Whoever wants a
later schema knows from its own files what these heads stand for, and whether that is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple


class Revision(NamedTuple):
    """A step of the migrations: the names of those it follows, and the digest of its file."""

    down_revisions: frozenset[str]
    digest: bytes


class Lineage(NamedTuple):
    """``base``: what has to be the same in any case; ``revisions``: those wanted, by name."""

    base: tuple[bytes, ...]
    revisions: Mapping[str, Revision]

    @property
    def heads(self) -> tuple[str, ...]:
        followed = frozenset[str]().union(
            *(each.down_revisions for each in self.revisions.values())
        )
        return tuple(sorted(self.revisions.keys() - followed))

    def including_ancestors(self, heads: Iterable[str]) -> frozenset[str]:
        """``heads`` and all that they follow; nothing if one of them is not wanted."""
        found: set[str] = set()
        pending = set(heads)
        if not pending <= self.revisions.keys():
            return frozenset()
        while pending:
            found |= pending
            pending = (
                set().union(*(self.revisions[name].down_revisions for name in pending)) - found
            )
        return frozenset(found)

    def parts(self, applied: Collection[str]) -> Iterator[bytes]:
        """All that decides the schema once the revisions ``applied`` have run."""
        yield from self.base
        for name in sorted(applied):
            yield name.encode()
            yield self.revisions[name].digest

    def is_on_top_of(self, applied: frozenset[str]) -> bool:
        """Whether the other revisions follow all those ``applied``, and one another.

        Only then is it certain that all run in this order, too, when nothing is there yet.
        """
        added = [self.including_ancestors({name}) for name in self.revisions.keys() - applied]
        in_line = sorted(map(len, added)) == list(range(len(applied) + 1, len(self.revisions) + 1))
        return in_line and all(applied <= each for each in added)


LineageReader = Callable[
    [], Lineage | None
]  # it takes some ms, and is asked only when something is built
