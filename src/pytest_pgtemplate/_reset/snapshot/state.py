"""What a database holds at one moment, in numbers."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import NamedTuple

from pytest_pgtemplate._server import Connection, load_sql

Key = tuple[str, int]  # a kind of thing, as state.sql names it, and an oid


class Line(NamedTuple):
    """Of one thing: what it is called, and two numbers that tell whether it was changed."""

    name: str
    number: int
    digest: int


State = dict[Key, Line]


class Seal(NamedTuple):
    """What a template keeps of its state: the whole of it as one word, and the ``boundary``."""

    boundary: str
    digest: str

    def __str__(self) -> str:
        return f"{self.boundary} {self.digest}"

    @classmethod
    def parse(cls, text: str) -> Seal:
        boundary, _, digest = text.partition(" ")
        return cls(boundary, digest)


def state_sql() -> str:
    """What decides the numbers of a state: those that other SQL has read mean something else."""
    return "\0".join(_functions())


async def prepare_to_read(connection: Connection) -> None:
    """Make a session able to read states."""
    await connection.execute("\n".join(_functions()))


async def read_state(
    connection: Connection, boundary: str, *, all_rows: bool, relations: str | None
) -> State:
    """What the database holds now; see the SQL for the parameters."""
    query = (
        "SELECT kind, id, object, count, digest::text"
        " FROM pg_temp.pgtemplate_state($1::text::xid, $2, $3::text::regclass)"
    )
    rows = await connection.fetch(query, boundary, all_rows, relations)
    return {(row[0], row[1]): Line(row[2], row[3], int(row[4] or 0)) for row in rows}


async def seal_state(connection: Connection, relations: str | None) -> Seal:
    """Of the database as it is now."""
    boundary = await current_boundary(connection)
    await prepare_to_read(connection)
    state = await read_state(connection, boundary, all_rows=False, relations=relations)
    return Seal(boundary, state_digest(state))


async def current_boundary(connection: Connection) -> str:
    """A transaction that is older than everything that will be written, for ``boundary``."""
    boundary: str = await connection.fetchval("SELECT pg_current_xact_id()::xid::text")
    return boundary


def state_digest(state: State) -> str:
    """The whole state as one word. Names do not count: the server may translate them."""
    lines = sorted((key, line.number, line.digest) for key, line in state.items())
    return sha256(repr(lines).encode()).hexdigest()[:32]


@cache
def _functions() -> list[str]:
    names = ("catalogs", "contents", "state")
    return [load_sql("_reset.snapshot", name) for name in names]
