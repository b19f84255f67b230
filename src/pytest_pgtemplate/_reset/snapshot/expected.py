"""Compute the expected state of a database: the state of its template plus its layers.

This is independent of the baseline in the database, which a reset uses. So it finds errors there.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from pytest_pgtemplate._reset.snapshot.state import Key, Line, State

# What a layer may change. The numbers of rows are sums, so layers can be removed in any order.
_ADDED_UP = "rows"
_REPLACED = ("sequence", "large object")
_BOOKKEEPING = "bookkeeping"  # the plugin's own tables, which describe the layers


class Difference(NamedTuple):
    """An entry that differs from the expected state. None: it does not exist on that side."""

    key: Key
    expected: Line | None
    actual: Line | None


class LayerChanges(NamedTuple):
    number: int
    differences: tuple[Difference, ...]  # from the state before the layer


class ExpectedState:
    """The state of the template plus ``layers``, in the order of their creation."""

    def __init__(self, template: State, layers: Collection[LayerChanges] = ()) -> None:
        self._template = template
        self.layers = list(layers)

    def add_layer(self, number: int, actual: State) -> None:
        """Attribute all differences from the expected state to the layer ``number``."""
        self.layers.append(LayerChanges(number, self._differences(actual)))

    def remove_layers(self, numbers: Collection[int]) -> None:
        self.layers = [layer for layer in self.layers if layer.number not in numbers]

    def differences(self, actual: State) -> tuple[Difference, ...]:
        """Return the differences between the expected and the ``actual`` state."""
        return self._differences(actual)

    def _differences(self, actual: State) -> tuple[Difference, ...]:
        return compare_states(self._state(), actual, bookkeeping=not self.layers)

    def _state(self) -> State:
        state = dict(self._template)
        for layer in self.layers:
            for difference in layer.differences:
                _apply(difference, state)
        return state


def compare_states(expected: State, actual: State, *, bookkeeping: bool) -> tuple[Difference, ...]:
    return tuple(
        Difference(key, expected.get(key), actual.get(key))
        for key in sorted(expected.keys() | actual.keys())
        if _numbers(expected.get(key)) != _numbers(actual.get(key))
        and (bookkeeping or key[0] != _BOOKKEEPING)
    )


def _apply(difference: Difference, state: State) -> None:
    key, before, after = difference
    if key[0] == _ADDED_UP and before and after and key in state:
        line = state[key]
        count = line.number + after.number - before.number
        state[key] = Line(line.name, count, line.digest + after.digest - before.digest)
    elif key[0] in _REPLACED and after is not None:
        state[key] = after
    elif key[0] in _REPLACED:
        state.pop(key, None)


def _numbers(line: Line | None) -> tuple[int, int] | None:
    return None if line is None else (line.number, line.digest)
