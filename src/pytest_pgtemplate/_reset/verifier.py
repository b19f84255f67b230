"""Compare a database with its expected state: the state of the template plus the layers."""

from __future__ import annotations

from collections.abc import Collection

from pytest_pgtemplate._reset.scripts import RELATIONS
from pytest_pgtemplate._reset.snapshot import (
    Details,
    Difference,
    ExpectedState,
    LayerChanges,
    State,
    current_boundary,
    prepare_to_read,
    read_details,
    read_state,
)
from pytest_pgtemplate._server import Connection


class Verifier:
    """Uses the connection of a resetter, because other sessions cannot see its temporary tables.

    After ``begin``, it knows the expected state of the database.
    """

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection = connection
        self._relations = RELATIONS.replace("pgtemplate", schema)
        self._boundary = ""
        self._expected: ExpectedState | None = None

    async def begin(self) -> None:
        """Take the current content as the expected state: the database is a new clone."""
        self._boundary = await current_boundary(self._connection)
        await prepare_to_read(self._connection)
        self._expected = ExpectedState(await self._read())

    async def read_since(self, boundary: str) -> State:
        """Read the state in the same way as the seal of the template."""
        await prepare_to_read(self._connection)
        return await read_state(
            self._connection, boundary, all_rows=False, relations=self._relations
        )

    async def read_details(self, differences: Collection[Difference]) -> Details:
        return await read_details(self._connection, differences)

    async def compare(self) -> tuple[Difference, ...]:
        """Return the differences from the expected state; none before ``begin``."""
        if self._expected is None:
            return ()
        return self._expected.differences(await self._read())

    async def add_layer(self, number: int) -> None:
        if self._expected is not None:
            self._expected.add_layer(number, await self._read())

    def remove_layers(self, numbers: Collection[int]) -> None:
        if self._expected is not None:
            self._expected.remove_layers(numbers)

    def layers(self, without: Collection[int]) -> list[LayerChanges]:
        """Return the changes of all layers except ``without``, for another database."""
        layers = self._expected.layers if self._expected is not None else []
        return [each for each in layers if each.number not in without]

    def load_layers(self, layers: Collection[LayerChanges]) -> None:
        if self._expected is not None:
            self._expected.layers.extend(layers)

    async def _read(self) -> State:
        return await read_state(
            self._connection, self._boundary, all_rows=True, relations=self._relations
        )
