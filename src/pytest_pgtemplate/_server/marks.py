"""The mark of each database that the plugin creates: JSON in its comment. Pure, no I/O.

``COMMENT ON DATABASE`` can only follow ``CREATE DATABASE``. If the process is killed in between,
the database has no mark. It still has an unusual ``CONNECTION LIMIT``, set by the same statement.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import NotOursError

KEY = "pytest-pgtemplate"
CONNECTION_LIMIT = 0x70677470  # "pgtp": no limit in practice, and unlikely to be chosen by anyone
INVALID = -2  # set by PostgreSQL after an interrupted DROP DATABASE

Kind = Literal["scratch", "template", "worker", "kept", "spare"]
DatabaseSettings = tuple[tuple[str, str], ...]  # ALTER DATABASE .. SET: names and values
RoleSettings = tuple[tuple[str, str, str], ...]  # ALTER ROLE .. IN DATABASE: quoted roles first


@dataclass(frozen=True)
class Mark:
    """Who created a database, when and why. Times are seconds since the epoch.

    Stored in databases: only add fields, with defaults.
    """

    kind: Kind
    run: str
    fingerprint: str = ""
    build: str = ""  # of a clone: the run that built its template
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    created: int = 0  # by the server's clock, as ``used``; 0: when the mark is written
    used: int = 0
    settings: DatabaseSettings = ()
    grants: tuple[str, ...] | None = None  # None: the default privileges
    role_settings: RoleSettings = ()
    owner: str = ""  # quoted; "": the role that created the database
    origin: str = ""  # the template from which this one was built; "": built from an empty database
    heads: tuple[str, ...] = ()  # heads of its revisions, if further revisions can be applied
    lineage: str = ""  # digest of these revisions
    size: int = 0  # bytes of a template when it was published
    proved: tuple[str, ...] = ()  # digests of what `--pg-check` has proved
    state: str = ""  # seal of the content of a template, for a comparison with its clones

    def with_properties_of(self, other: Mark) -> Mark:
        """Add what a clone of ``other`` gets, and CREATE DATABASE .. TEMPLATE does not copy."""
        return replace(
            self,
            settings=other.settings,
            role_settings=other.role_settings,
            grants=other.grants,
            owner=other.owner,
        )

    def dumps(self) -> str:
        return json.dumps({KEY: 1, **asdict(self)})


def parse_mark(comment: str | None) -> Mark | None:
    """Parse a comment. None: it is not a mark."""
    try:
        data: Any = json.loads(comment or "")
        if data.pop(KEY) != 1:
            return None
        data["settings"] = tuple((name, value) for name, value in data["settings"])
        data["role_settings"] = tuple(map(tuple, data.get("role_settings", ())))
        data["grants"] = None if data["grants"] is None else tuple(data["grants"])
        data["heads"] = tuple(data.get("heads", ()))
        data["proved"] = tuple(data.get("proved", ()))
        return Mark(**data)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


class ServerDatabase(NamedTuple):
    """One row of ``databases.sql``."""

    name: str
    sealed: bool
    connection_limit: int
    mark: Mark | None
    leased: bool  # by a session of another process
    now: int = 0  # by the server's clock, in seconds since the epoch

    @property
    def age(self) -> int:
        """Seconds since it was made; 0 without a mark."""
        return self.now - self.mark.created if self.mark is not None else 0

    @property
    def unused(self) -> int:
        """Seconds since it was last used; below 0 if the clock that dated the mark was ahead."""
        return self.now - self.mark.used if self.mark is not None else 0

    @property
    def invalid(self) -> bool:
        """Whether an interrupted DROP DATABASE left it behind: it can only be dropped."""
        return self.connection_limit == INVALID

    @property
    def is_ours(self) -> bool:
        """Whether the plugin created it."""
        if self.mark is not None:
            return True
        # No mark: its creator was killed before COMMENT ON DATABASE, or is about to send it.
        return not self.sealed and (
            self.connection_limit in (CONNECTION_LIMIT, INVALID)
            and database_names.may_be_unmarked(self.name)
            and not self.leased
        )


def require_ours(database: ServerDatabase | None, name: str) -> ServerDatabase:
    """Raise NotOursError for a database that the plugin did not create.

    Every statement that drops, renames or seals a database takes its name through this guard.
    """
    if database is None or not database.is_ours:
        raise NotOursError(
            f'pytest-pgtemplate did not create the database "{name}" and does not change it',
            hint="if it is not needed, drop or rename it yourself; else choose another pg_name",
        )
    return database
