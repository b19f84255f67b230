"""The layers that the state of a database consists of, and the fixtures that have written them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_pgtemplate.errors import LayerError

if TYPE_CHECKING:
    from pytest_pgtemplate._reset import Resetter

SAME_SCOPE = (
    "give the fixture the scope of the mark pg of these tests, so that it is torn down after them"
)


class Layer(NamedTuple):
    """The writes of ``owner``: a fixture, or a test before it requested a fixture."""

    number: int
    owner: str
    width: int  # of the scope; 0: a test


class SharedFixture(NamedTuple):
    """A fixture wider than ``function``, the request that sets it up, and the layer of its rows."""

    fixture: pytest.FixtureDef[Any]
    request: Any
    layer: Layer

    def is_in_scope(self, item: pytest.Item) -> bool:
        """Whether the scope of the fixture contains the test."""
        return self.request.node in item.listchain()


class ActiveLayers:
    """The layers of one database."""

    def __init__(self) -> None:
        self._count = 0
        self._active: dict[int, Layer] = {}  # by number
        self.rows: Counter[int] = Counter()  # added and removed, by the number of the layer
        self.removed: list[int] = []  # layers for the next reset to remove
        self.orphaned: list[int] = []  # those to remove even if no reset follows the test

    @property
    def owners(self) -> list[str]:
        """The owners of the active layers."""
        return [layer.owner for layer in self._active.values()]

    def create(self, owner: str, width: int) -> Layer:
        """Return a layer that is not active yet."""
        self._count += 1
        return Layer(self._count, owner, width)

    def activate(self, layer: Layer, rows: int) -> None:
        self._active[layer.number] = layer
        self.rows[layer.number] += rows

    def orphan(self, layer: Layer) -> None:
        """Let the next test not start with a layer, in any isolation: its fixture has ended."""
        self.removed.append(layer.number)
        self.orphaned.append(layer.number)

    def discard(self, numbers: Iterable[int]) -> None:
        """Forget layers that a reset has removed."""
        for number in list(numbers):
            self._active.pop(number, None)
            for scheduled in (self.removed, self.orphaned):
                if number in scheduled:
                    scheduled.remove(number)

    def clear(self) -> None:
        """Forget all layers, because their database was lost."""
        self._active.clear()
        self.removed.clear()
        self.orphaned.clear()

    def require_independence(self, resetter: Resetter, layer: Layer) -> None:
        """Raise LayerError if a layer depends on one that a narrower fixture or a test wrote."""
        below = [each.number for each in self._active.values() if each.width < layer.width]
        if below and (dependency := resetter.find_dependency(below, [layer.number])):
            raise self._dependency_error(dependency)

    def find_dependents(
        self, resetter: Resetter, layer: Layer
    ) -> tuple[list[Layer], LayerError | None]:
        """Return the layers that depend on a layer, also through others, and the error."""
        found, error = [layer.number], None
        while others := [number for number in self._active if number not in found]:
            if (dependency := resetter.find_dependency(found, others)) is None:
                break
            error = error or self._dependency_error(dependency)
            found.append(dependency[0])
        return [self._active[number] for number in found[1:]], error

    def _dependency_error(self, dependency: list[int]) -> LayerError:
        """Return an error for a layer and a layer on which it depends, but which ends earlier."""
        upper, lower = (self._active[number] for number in dependency)
        two_fixtures = "give that fixture a narrower scope, or write all these rows in one fixture"
        return LayerError(
            f"{upper.owner} refers to rows of {lower.owner}, or has changed them, and is torn down"
            " later",
            hint=two_fixtures if upper.width else SAME_SCOPE,
        )
