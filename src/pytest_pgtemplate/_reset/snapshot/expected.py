"""What a database should hold: the state of its template and, on top of it, that of its layers.

It is kept apart from the baseline in the database, by which a reset works: so a mistake there is
found.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from pytest_pgtemplate._reset.snapshot.state import Key, Line, State

# What a layer may change. Of rows the numbers are sums: any layer can go while others stay.
_ADDED_UP = "rows"
_REPLACED = ("sequence", "large object")
_BOOKKEEPING = "bookkeeping"  # our own tables, which tell of the layers


class Difference(NamedTuple):
    """One thing that is not as it should be. None: there should be none, or there is none."""

    key: Key
    expected: Line | None
    actual: Line | None


class LayerChanges(NamedTuple):
    number: int
    differences: tuple[Difference, ...]  # between what was before it and what is since


class ExpectedState:
    """``layers``: in the order in which they came up."""

    def __init__(self, template: State, layers: Collection[LayerChanges] = ()) -> None:
        self._template = template
        self.layers = list(layers)

    def add_layer(self, number: int, actual: State) -> None:
        """Everything that is not as it should be is the layer's."""
        self.layers.append(LayerChanges(number, self._differences(actual)))

    def remove_layers(self, numbers: Collection[int]) -> None:
        self.layers = [layer for layer in self.layers if layer.number not in numbers]

    def differences(self, actual: State) -> tuple[Difference, ...]:
        """What is not as it should be."""
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
