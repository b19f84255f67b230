"""After ``os.fork``, let the child forget the threads, connections and leases of its parent.

A forked child has only the thread that forked, so the event loops of other threads do not run
there. It shares every socket with its parent: what it sends appears in the parent's session, and an
open socket keeps the parent's session, with its leases, alive when the parent has died.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """An object whose state a forked child must not use."""

    def after_fork(self) -> None:
        """Called in the child, while nothing else runs there. It must not do I/O."""
        ...


class GivesBackBeforeFork(Protocol):
    """An object whose resources only one of parent and child can own."""

    def before_fork(self) -> None:
        """Called in the parent, in the thread that forks."""
        ...


_forkable: WeakSet[Forkable] = WeakSet()
_before: WeakSet[GivesBackBeforeFork] = WeakSet()


def register(forkable: Forkable) -> None:
    """Call ``forkable.after_fork()`` in every child that this process forks."""
    _forkable.add(forkable)


def register_before(owner: GivesBackBeforeFork) -> None:
    """Call ``owner.before_fork()`` before this process forks."""
    _before.add(owner)


def _before_fork() -> None:
    for each in list(_before):
        each.before_fork()


def _after_fork() -> None:
    for each in list(_forkable):
        each.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
