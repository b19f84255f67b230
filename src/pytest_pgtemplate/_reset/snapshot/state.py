"""Read the state of a database as numbers that are fast to compare."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import NamedTuple

from pytest_pgtemplate._server import Connection, load_sql

Key = tuple[str, int]  # a kind, as in state.sql, and an oid


class Line(NamedTuple):
    """The name of an entry, and two numbers that change when the entry changes."""

    name: str
    number: int
    digest: int


State = dict[Key, Line]

# All relations that a comparison reads and a scan locks, including the plugin's and those of TOAST.
_RELATIONS = "SELECT count(*) FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p', 'i', 't')"
_UNLOGGED = "SELECT oid FROM pg_class WHERE relkind = 'r' AND relpersistence = 'u'"


class Seal(NamedTuple):
    """The digest of a template's state, stored in its mark, and the ``boundary`` to read it.

    ``relations``: the number of its tables and indexes, which one worker may have to lock at once.
    ``unlogged_rows``: the number of rows in unlogged tables, which a crash of the server empties.
    """

    boundary: str
    digest: str
    relations: int
    unlogged_rows: int

    def __str__(self) -> str:
        return f"{self.boundary} {self.digest} {self.relations} {self.unlogged_rows}"

    @classmethod
    def parse(cls, text: str) -> Seal:
        """Parse a seal; an empty one if the template has none, or one of an earlier release."""
        parts = text.split()
        if len(parts) != len(cls._fields):
            return cls("", "", 0, 0)
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]))


def state_sql() -> str:
    """Return the SQL that reads states. States read by different SQL cannot be compared."""
    return "\0".join(_functions())


async def prepare_to_read(connection: Connection) -> None:
    """Create the temporary functions with which a session reads states."""
    await connection.execute("\n".join(_functions()))


async def read_state(
    connection: Connection, boundary: str, *, all_rows: bool, relations: str | None
) -> State:
    """Read the current state. contents.sql and state.sql describe the parameters."""
    query = (
        "SELECT kind, id, object, count, digest::text"
        " FROM pg_temp.pgtemplate_state($1::text::xid, $2, $3::text::regclass)"
    )
    rows = await connection.fetch(query, boundary, all_rows, relations)
    return {(row[0], row[1]): Line(row[2], row[3], int(row[4] or 0)) for row in rows}


async def seal_state(connection: Connection, relations: str | None) -> Seal:
    """Return the seal of the current state."""
    boundary = await current_boundary(connection)
    await prepare_to_read(connection)
    state = await read_state(connection, boundary, all_rows=False, relations=relations)
    unlogged = [oid for (oid,) in await connection.fetch(_UNLOGGED)]
    rows = sum(state["rows", oid].number for oid in unlogged if ("rows", oid) in state)
    return Seal(boundary, state_digest(state), await connection.fetchval(_RELATIONS), rows)


async def current_boundary(connection: Connection) -> str:
    """Return a transaction id, for ``boundary``: every later write has a younger one."""
    boundary: str = await connection.fetchval("SELECT pg_current_xact_id()::xid::text")
    return boundary


def state_digest(state: State) -> str:
    """Hash a state. Names do not count, because the server may translate them."""
    lines = sorted((key, line.number, line.digest) for key, line in state.items())
    return sha256(repr(lines).encode()).hexdigest()[:32]


@cache
def _functions() -> list[str]:
    names = ("catalogs", "contents", "state")
    return [load_sql("_reset.snapshot", name) for name in names]
