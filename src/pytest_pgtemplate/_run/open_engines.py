"""The engines of the fixtures of one database: reset after each test, closed before a re-clone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pytest_pgtemplate._engines import Bindings, Engines

T = TypeVar("T")


class OpenEngines:
    """The engines of one database."""

    def __init__(self) -> None:
        self._all: list[Engines | Bindings] = []
        self._of_tests: list[Engines] = []
        self._shared: list[Engines] = []  # of pg_shared
        self._lock_waits_limited = False

    def lock_waits_limited(self) -> bool:
        """Whether the current test has a transaction that keeps its locks until the test ends."""
        return self._lock_waits_limited

    @contextmanager
    def limit_lock_waits(self, *, limited: bool) -> Iterator[None]:
        """Limit waits for locks on all connections, if ``limited``."""
        before, self._lock_waits_limited = self._lock_waits_limited, limited
        try:
            yield
        finally:
            self._lock_waits_limited = before

    @contextmanager
    def reset_after_tests(self, engines: Engines) -> Iterator[None]:
        """Reset the sessions of ``engines`` after each test."""
        with _listed(self._of_tests, engines), self.closed_on_reclone(engines):
            yield

    @contextmanager
    def shared_by_tests(self, engines: Engines) -> Iterator[None]:
        """Reset the sessions of ``engines`` after each test, except those in use by fixtures."""
        with _listed(self._shared, engines), self.closed_on_reclone(engines):
            yield

    @contextmanager
    def closed_on_reclone(self, engines: Engines | Bindings) -> Iterator[None]:
        """Close the connections of ``engines`` before each re-clone."""
        with _listed(self._all, engines):
            yield

    def reset_sessions(self) -> None:
        """Reset the sessions of the connections that the test has used."""
        for engines in self._of_tests:
            engines.reset_sessions()
        for engines in self._shared:
            engines.reset_idle_sessions()

    def close(self) -> None:
        """Close all connections."""
        for engines in self._all:
            engines.close()


@contextmanager
def _listed(items: list[T], item: T) -> Iterator[None]:
    items.append(item)
    try:
        yield
    finally:
        items.remove(item)
