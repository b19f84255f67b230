"""The mark that every database of ours bears: JSON in its comment. Pure, no I/O.

A comment can only follow ``CREATE DATABASE``, so a kill between the two leaves none. Every database
of ours is therefore born with an unusual ``CONNECTION LIMIT``, which is part of the same statement.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import NotOursError

KEY = "pytest-pgtemplate"
CONNECTION_LIMIT = 0x70677470  # "pgtp": no limit in practice, and nobody's by accident
INVALID = -2  # PostgreSQL's own value after an interrupted DROP DATABASE; it can only be dropped

Kind = Literal["scratch", "template", "worker", "kept", "spare"]


DatabaseSettings = tuple[tuple[str, str], ...]  # ALTER DATABASE .. SET: names and values


@dataclass(frozen=True)
class Mark:
    """Who made a database, when and what for. Times are seconds since the epoch."""

    kind: Kind
    run: str
    fingerprint: str = ""
    build: str = ""  # of a clone: the run that built its template
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    created: int = field(default_factory=lambda: int(time.time()))
    used: int = field(default_factory=lambda: int(time.time()))
    settings: DatabaseSettings = ()
    grants: tuple[str, ...] | None = None  # None: the default privileges
    origin: str = ""  # the template that this one was built from; else it was built from nothing
    heads: tuple[str, ...] = ()  # of the revisions it holds, where others may be added
    lineage: str = ""  # the digest of these revisions
    size: int = 0  # bytes: of a template, as it was published
    proved: tuple[str, ...] = ()  # what a check of the migrations has proved, by digests

    def dumps(self) -> str:
        return json.dumps({KEY: 1, **asdict(self)})


def parse_mark(comment: str | None) -> Mark | None:
    """Read a comment; None when it is not a mark of ours."""
    try:
        data: Any = json.loads(comment or "")
        if data.pop(KEY) != 1:
            return None
        data["settings"] = tuple((name, value) for name, value in data["settings"])
        data["grants"] = None if data["grants"] is None else tuple(data["grants"])
        data["heads"] = tuple(data.get("heads", ()))
        data["proved"] = tuple(data.get("proved", ()))
        return Mark(**data)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


class ServerDatabase(NamedTuple):
    """One row of ``pg_database`` as far as it concerns us."""

    name: str
    sealed: bool
    connection_limit: int
    mark: Mark | None
    leased: bool  # by another session than the one that looked

    @property
    def invalid(self) -> bool:
        """Whether an interrupted DROP DATABASE left it: it can only be dropped."""
        return self.connection_limit == INVALID

    @property
    def is_ours(self) -> bool:
        """Whether we made it: it bears our mark, or is of a kind that is born before its mark."""
        if self.mark is not None:
            return True
        return not self.sealed and (
            self.connection_limit in (CONNECTION_LIMIT, INVALID)
            and database_names.may_be_unmarked(self.name)
            and not self.leased
        )


def require_ours(database: ServerDatabase | None, name: str) -> ServerDatabase:
    """The guard: raise NotOursError for a database that the plugin did not make."""
    if database is None or not database.is_ours:
        raise NotOursError(
            f'database "{name}" was not made by pytest-pgtemplate and stays untouched',
            hint="drop or rename it yourself if you are sure, or choose another pg_name",
        )
    return database
