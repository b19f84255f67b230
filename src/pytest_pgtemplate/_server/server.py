"""Create, clone, publish, drop and list databases on a server; locks and leases."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate._server import clocks
from pytest_pgtemplate._server.connection_errors import server_place
from pytest_pgtemplate._server.facts import ServerFacts, check_facts, explain_missing_features
from pytest_pgtemplate._server.marks import (
    CONNECTION_LIMIT,
    DatabaseSettings,
    Mark,
    ServerDatabase,
    parse_mark,
    require_ours,
)
from pytest_pgtemplate._server.prepared_transactions import connect_and_roll_back_prepared
from pytest_pgtemplate._server.properties import apply_properties, read_properties
from pytest_pgtemplate._server.quoting import quote_identifier, quote_literal
from pytest_pgtemplate._server.session import LOCK_SEED, Session
from pytest_pgtemplate._server.sql_files import load_sql
from pytest_pgtemplate.errors import ServerError


class Server:
    """A PostgreSQL server, over one admin session.

    Every method takes at most ``timeout`` seconds. It raises ServerError if the server refuses the
    statement, if the connection is lost, or if the server does not answer.
    """

    def __init__(self, url: URL, *, timeout: float) -> None:
        self.url = url
        self.timeout = timeout
        self._session = Session(url, timeout=timeout)
        try:
            with explain_missing_features(url):
                self.facts = ServerFacts(**dict(self._fetch(load_sql("_server", "facts"))[0]))
            check_facts(self.facts, url)
        except BaseException:
            self.close()
            raise

    def __str__(self) -> str:
        return f"{self.facts.product} at {server_place(self.url)}"

    def __repr__(self) -> str:
        return f"<Server: {self}>"

    @property
    def version(self) -> str:
        return self.facts.version

    def close(self) -> None:
        """Disconnect, which releases the leases."""
        self._session.close()

    def round_trip(self) -> float:
        """Return the seconds that an empty statement takes."""
        began = clocks.monotonic()
        self._fetch("SELECT")
        return clocks.monotonic() - began

    # Databases

    def databases(self) -> list[ServerDatabase]:
        """Return all databases that the plugin created."""
        return [database for database in self._list(None) if database.is_ours]

    def find(self, name: str) -> ServerDatabase | None:
        """Return the database ``name``, even if another tool created it, or None."""
        return next(iter(self._list(name)), None)

    def require_ours(self, name: str) -> ServerDatabase:
        """Return the database ``name``. Raises NotOursError if the plugin did not create it."""
        return require_ours(self.find(name), name)

    def create(self, name: str, mark: Mark, template: str = "template1") -> None:
        """Create an empty database with a mark."""
        self._create(name, mark, f"TEMPLATE {template}")

    def clone(self, template: str, name: str, mark: Mark, strategy: str = "") -> None:
        """Create ``name`` from ``template`` (``strategy``: by default, that of ``strategy()``)."""
        option = f"STRATEGY {strategy or self.strategy()}" if self.facts.major >= 15 else ""
        self._create(name, mark, f"TEMPLATE {quote_identifier(template)} {option}")

    def with_async_commit(self, settings: DatabaseSettings) -> DatabaseSettings:
        """Add ``synchronous_commit = off`` for tests, unless the user has set it."""
        if not self.facts.fsync or any(name == "synchronous_commit" for name, _ in settings):
            return settings
        return tuple(sorted([*settings, ("synchronous_commit", "off")], key="=".join))

    def publish(self, scratch: str, final: str, mark: Mark) -> None:
        """Seal a finished scratch database and rename it to its final name, in one transaction.

        If there is a template with that name, the two exchange names.
        """
        mark = self._with_properties(scratch, mark)
        name = quote_identifier(self.require_ours(scratch).name)
        # RENAME fails while a session is connected, and a pooler keeps one after its client's end.
        self._end_sessions(scratch)
        # One simple-query message is one transaction. So a database under a final name is complete
        # and sealed, and other workers can clone the old template until the commit.
        self._execute(
            f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true;"
            f" {self._comment_on(name, mark)};"
            f" {'; '.join(self._renames(scratch, final))}"
        )

    def drop(self, name: str) -> None:
        """Drop a database and end its sessions. Does nothing if the database does not exist.

        Raises NotOursError if the plugin did not create the database.
        """
        database = self.find(name)
        if database is None:
            return
        if require_ours(database, name).sealed:
            self._execute(f"ALTER DATABASE {quote_identifier(name)} WITH IS_TEMPLATE false")
        statement = f"DROP DATABASE IF EXISTS {quote_identifier(name)}"
        try:
            self._execute(f"{statement} WITH (FORCE)")
        except ServerError as error:
            if isinstance(error.__cause__, asyncpg.ObjectInUseError):
                with suppress(Exception):  # the next attempt reports what is still in its way
                    connect_and_roll_back_prepared(
                        self.url.set(database=name), timeout=self.timeout
                    )
                self._execute(f"{statement} WITH (FORCE)")
            elif isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
                # FORCE needs the right to end every session, and autovacuum workers run as a
                # superuser. Without FORCE, PostgreSQL itself asks an autovacuum worker to leave.
                self._execute(statement)
            else:
                raise

    def keep_aside(self, name: str, kept_name: str, mark: Mark) -> None:
        """End the sessions of a database, rename it, and mark it as kept: no sweep drops it."""
        database = self.require_ours(name)
        self._end_sessions(name)
        self.rename(database, kept_name, replace(mark, kind="kept"))

    def rename(
        self, database: ServerDatabase, new_name: str, mark: Mark, *, disallow: bool = False
    ) -> None:
        """Change the name and the mark of a database, in one transaction.

        Raises ServerError (55006) if a session is connected. ``disallow``: allow no connections.
        """
        quoted = quote_identifier(require_ours(database, database.name).name)
        self._execute(
            f"{self._comment_on(quoted, mark)};"
            f" ALTER DATABASE {quoted} WITH ALLOW_CONNECTIONS {not disallow};"
            f" ALTER DATABASE {quoted} RENAME TO {quote_identifier(new_name)}"
        )

    def disallow_connections(self, database: ServerDatabase) -> None:
        """Allow no new connections to a database. Existing sessions stay."""
        quoted = quote_identifier(require_ours(database, database.name).name)
        self._execute(f"ALTER DATABASE {quoted} WITH ALLOW_CONNECTIONS false")

    def is_like_new_clone(self, name: str, template: str, mark: Mark, *, at_most: int) -> bool:
        """Whether ``name`` equals a new clone of ``template``, in everything outside the database.

        That is: owner, tablespace, settings, grants, prepared transactions and replication slots.
        A reset compares its content. ``at_most``: its maximum size in bytes.
        """
        row = self._fetch(load_sql("_server", "like_new_clone"), name, template, CONNECTION_LIMIT)
        current = self._with_properties(name, mark)
        if not (row and row[0]["like_new_clone"]) or current.size > at_most:
            return False
        return current == replace(mark, size=current.size)

    def end_idle_sessions(self, name: str, pid: int) -> int:
        """End the idle sessions of a database, and return how many other than ``pid`` it had."""
        count: int = self._fetch(load_sql("_server", "end_idle_sessions"), name, pid)[0][0]
        return count

    def record_use(self, name: str) -> None:
        """Update the time of last use in the mark of a template."""
        with self.locked(name):  # a build may publish another template of this name
            mark = self.require_ours(name).mark
            assert mark is not None
            self._comment(name, replace(mark, used=0))

    def record_proved(self, name: str, proved: Iterable[str]) -> None:
        """Add digests of proved migrations to the mark of a template."""
        with self.locked(name):
            mark = self.require_ours(name).mark
            assert mark is not None
            known = tuple(sorted({*mark.proved, *proved}))
            self._comment(name, replace(mark, proved=known))

    # Locks

    def lease(self, name: str) -> None:
        """Lease the database name ``name`` until this process ends. Raises ServerError if taken.

        A lease is a session-level advisory lock: the server also releases it after a kill -9.
        """
        if not self.try_lease(name):
            raise ServerError(
                f'the database name "{name}" is in use by another process',
                hint="run again, or wait until that process has ended",
            )

    def try_lease(self, name: str) -> bool:
        """Lease ``name``. False: another process holds the lease."""
        return self._session.lease(name)

    def holds_lease(self, name: str) -> bool:
        """Whether this process holds the lease of ``name``."""
        return self._session.holds_lease(name)

    def names_without_lease(self, names: Collection[str]) -> list[str]:
        """Return the ``names`` that no process has leased."""
        rows = self._fetch(load_sql("_server", "names_without_lease"), list(names), LOCK_SEED)
        return [row["name"] for row in rows]

    def release(self, name: str) -> None:
        """Release the lease of ``name``."""
        self._session.release(name)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock ``name``, which excludes every process on every host."""
        with self._session.locked(name):
            yield

    def _execute(self, statement: str) -> None:
        self._session.execute(statement)

    def _fetch(self, query: str, *arguments: object) -> list[Any]:
        return self._session.fetch(query, *arguments)

    def _list(self, name: str | None) -> list[ServerDatabase]:
        rows = self._fetch(load_sql("_server", "databases"), name, LOCK_SEED)
        return [
            ServerDatabase(name, sealed, limit, parse_mark(comment), leased, now)
            for name, sealed, limit, comment, leased, now in rows
        ]

    def _create(self, name: str, mark: Mark, options: str) -> None:
        quoted = quote_identifier(name)
        with explain_missing_features(self.url):
            self._execute(f"CREATE DATABASE {quoted} {options} CONNECTION LIMIT {CONNECTION_LIMIT}")
        self._comment(name, mark)
        for statement in apply_properties(name, mark):
            self._execute(statement)

    def _comment(self, name: str, mark: Mark) -> None:
        self._execute(self._comment_on(quote_identifier(name), mark))

    def _comment_on(self, quoted: str, mark: Mark) -> str:
        """Return a statement that writes a mark, dated by the server's clock."""
        if not (mark.created and mark.used):
            now = self._fetch("SELECT extract(epoch FROM clock_timestamp())::int8")[0][0]
            mark = replace(mark, created=mark.created or now, used=mark.used or now)
        return f"COMMENT ON DATABASE {quoted} IS {quote_literal(mark.dumps())}"

    def _end_sessions(self, name: str) -> None:
        # Only sessions that this role may end. Autovacuum leaves when a statement needs its lock.
        self._fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = $1 AND pg_has_role(usesysid, 'USAGE')",
            name,
        )

    def _renames(self, scratch: str, final: str) -> Iterator[str]:
        aside = f"{scratch}_old"  # exists within the transaction only
        old = self.find(final)
        steps = [(scratch, final)]
        if old is not None:
            steps = [(require_ours(old, final).name, aside), *steps, (aside, scratch)]
        for before, after in steps:
            yield f"ALTER DATABASE {quote_identifier(before)} RENAME TO {quote_identifier(after)}"

    def strategy(self) -> str:
        """Return the faster strategy for ``CREATE DATABASE`` on this server (PostgreSQL 15+)."""
        # FILE_COPY runs two checkpoints, which are cheap if they flush nothing (fsync = off), or if
        # the file system clones the files. Measured: 14 MB 34 vs. 58 ms, with fsync 405 vs. 113 ms.
        cheap = not self.facts.fsync or self.facts.file_copy_method == "clone"
        return "FILE_COPY" if cheap else "WAL_LOG"

    def _with_properties(self, name: str, mark: Mark) -> Mark:
        row = self._fetch(load_sql("_server", "settings"), name)[0]
        return read_properties(mark, row)
