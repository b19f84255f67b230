"""Read the version, settings and privileges that the plugin needs from a server; check them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate._server.connection_errors import server_place
from pytest_pgtemplate._server.quoting import quote_identifier
from pytest_pgtemplate.errors import ServerError

OLDEST, NEWEST = 14, 18  # the versions that are tested
PER_WORKER = 2 + 5  # connections of a worker: the plugin's, and a pool of SQLAlchemy's default size

# Errors of servers that use PostgreSQL's protocol but lack a feature (CockroachDB, and others).
_MISSING_FEATURES = (
    asyncpg.FeatureNotSupportedError,
    asyncpg.PostgresSyntaxError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedObjectError,
    asyncpg.UndefinedTableError,
)


class ServerFacts(NamedTuple):
    """One row of ``facts.sql``: the server, and what the role may do there."""

    version: str
    version_num: int
    maintenance: str
    role: str
    superuser: bool
    createdb: bool
    fsync: bool
    file_copy_method: str
    max_connections: int
    max_prepared_transactions: int
    max_locks_per_transaction: int
    defaults: str
    locale: str

    @property
    def major(self) -> int:
        return self.version_num // 10000

    @property
    def for_schema(self) -> bytes:
        """Everything that determines what a migration does on this server, as part of a digest."""
        facts = (self.major, self.locale, self.role, self.superuser, self.defaults)
        return " ".join(map(str, facts)).encode()

    @property
    def is_tested(self) -> bool:
        """Whether the version is not newer than those that are tested."""
        return self.major <= NEWEST

    @property
    def product(self) -> str:
        """The name and version; if the version is not tested, also the tested versions."""
        untested = "" if self.is_tested else f" ({OLDEST} to {NEWEST} are tested)"
        return f"PostgreSQL {self.version}{untested}"

    @property
    def max_locks(self) -> int:
        """The number of locks that all transactions can hold together."""
        transactions = self.max_connections + self.max_prepared_transactions
        return self.max_locks_per_transaction * transactions

    @property
    def workers(self) -> int:
        """The number of workers that ``max_connections`` allows."""
        return self.max_connections // PER_WORKER


def check_facts(facts: ServerFacts, url: URL) -> None:
    """Raise ServerError if the server is too old, or if the role may not create databases."""
    if facts.major < OLDEST:
        raise ServerError(
            f"the server at {server_place(url)} runs PostgreSQL {facts.version};"
            f" the oldest supported version is {OLDEST}",
            hint="set pg_url to a newer server, or unset it to use the embedded server",
        )
    if not facts.createdb:
        raise ServerError(
            f'role "{facts.role}" may not create databases at {server_place(url)}',
            hint=f"as a superuser: ALTER ROLE {quote_identifier(facts.role)} CREATEDB",
        )


@contextmanager
def explain_missing_features(url: URL) -> Iterator[None]:
    """Wrap statements that every PostgreSQL has: if one fails, the server is not PostgreSQL."""
    try:
        yield
    except ServerError as error:
        cause = error.__cause__
        if not isinstance(cause, _MISSING_FEATURES):
            raise
        raise ServerError(
            f"the server at {server_place(url)} lacks a feature of PostgreSQL that the plugin"
            f" needs: {cause} ({cause.sqlstate})",
            hint="set pg_url to a PostgreSQL server, or unset it to use the embedded server; the"
            " plugin needs CREATE DATABASE .. TEMPLATE, advisory locks and triggers",
        ) from cause
