"""What a server is, and whether our role may do there what is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate._server.connection_errors import server_place
from pytest_pgtemplate._server.quoting import quote_identifier
from pytest_pgtemplate.errors import ServerError

OLDEST = 13
PER_WORKER = 2 + 5  # connections: ours, and a pool of the usual size

# What a server says that speaks PostgreSQL's protocol, and knows less than our statements need.
_MISSING_FEATURES = (
    asyncpg.FeatureNotSupportedError,
    asyncpg.PostgresSyntaxError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedObjectError,
    asyncpg.UndefinedTableError,
)


class ServerFacts(NamedTuple):
    """What this role may do on this server: the columns of ``facts.sql``."""

    version: str
    version_num: int
    maintenance: str
    role: str
    superuser: bool
    createdb: bool
    fsync: bool
    file_copy_method: str
    max_connections: int
    locale: str

    @property
    def major(self) -> int:
        return self.version_num // 10000

    @property
    def workers(self) -> int:
        """How many have room at once."""
        return self.max_connections // PER_WORKER


def check_facts(facts: ServerFacts, url: URL) -> None:
    """Raise ServerError unless that is enough."""
    if facts.major < OLDEST:
        raise ServerError(
            f"the server at {server_place(url)} runs PostgreSQL {facts.version};"
            f" {OLDEST} is the oldest that works",
            hint="name a newer server in pg_url, or none to use the embedded one",
        )
    if not facts.createdb:
        raise ServerError(
            f'role "{facts.role}" may not create databases at {server_place(url)}',
            hint=f"as a superuser: ALTER ROLE {quote_identifier(facts.role)} CREATEDB",
        )


@contextmanager
def explain_missing_features(url: URL) -> Iterator[None]:
    """What is asked in here works on every PostgreSQL: an error tells that this is none."""
    try:
        yield
    except ServerError as error:
        cause = error.__cause__
        if not isinstance(cause, _MISSING_FEATURES):
            raise
        raise ServerError(
            f"the server at {server_place(url)} calls itself PostgreSQL and does not know what"
            f" is needed here: {cause} ({cause.sqlstate})",
            hint="name a PostgreSQL in pg_url, or none to use the embedded one; what this rests on"
            " is CREATE DATABASE .. TEMPLATE, advisory locks and triggers",
        ) from cause
