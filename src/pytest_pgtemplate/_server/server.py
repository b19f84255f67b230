"""What we ask of a PostgreSQL server: facts, create, clone, publish, drop, list, locks, leases."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

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
from pytest_pgtemplate._server.quoting import quote_identifier, quote_literal
from pytest_pgtemplate._server.session import LOCK_SEED, Session
from pytest_pgtemplate._server.sql_files import load_sql
from pytest_pgtemplate.errors import ServerError


class Server:
    """A live connection to a server, and what we do there.

    Every method takes at most ``timeout`` seconds and raises ServerError when the server refuses,
    is gone or does not answer.
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
        return f"PostgreSQL {self.version} at {server_place(self.url)}"

    def __repr__(self) -> str:
        return f"<Server: {self}>"

    @property
    def version(self) -> str:
        return self.facts.version

    def close(self) -> None:
        """Disconnect, which frees the leases."""
        self._session.close()

    def round_trip(self) -> float:
        """Seconds that a statement takes which does nothing."""
        began = time.perf_counter()
        self._fetch("SELECT")
        return time.perf_counter() - began

    # Databases

    def databases(self) -> list[ServerDatabase]:
        """All databases that are ours."""
        return [database for database in self._list(None) if database.is_ours]

    def find(self, name: str) -> ServerDatabase | None:
        """The database ``name``, ours or not."""
        return next(iter(self._list(name)), None)

    def require_ours(self, name: str) -> ServerDatabase:
        """The way by name to what is to be sealed or renamed. Raises NotOursError for others."""
        return require_ours(self.find(name), name)

    def create(self, name: str, mark: Mark, template: str = "template1") -> None:
        """Create an empty database that is ours from its first instant."""
        self._create(name, mark, f"TEMPLATE {template}")

    def clone(self, template: str, name: str, mark: Mark, strategy: str = "") -> None:
        """Create ``name`` from ``template``, by the strategy that suits the server or another."""
        how = f"STRATEGY {strategy or self.strategy()}" if self.facts.major >= 15 else ""
        self._create(name, mark, f"TEMPLATE {quote_identifier(template)} {how}")

    def with_async_commit(self, settings: DatabaseSettings) -> DatabaseSettings:
        """``settings`` for tests, which wait for no disk; a setting of the user's own wins."""
        if not self.facts.fsync or any(name == "synchronous_commit" for name, _ in settings):
            return settings
        return tuple(sorted([*settings, ("synchronous_commit", "off")], key="=".join))

    def publish(self, scratch: str, final: str, mark: Mark) -> None:
        """Seal a finished scratch database and give it its final name, all in one transaction.

        A database of ours that bears this name until then gets the scratch name in exchange: at no
        moment is there none for others to clone.
        """
        mark = self._with_current_settings(scratch, mark)
        name = quote_identifier(self.require_ours(scratch).name)
        self._end_sessions(scratch)  # a pooler keeps one when its client has gone
        self._execute(
            f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true;"
            f" {_comment(name, mark)};"
            f" {'; '.join(self._renames(scratch, final))}"
        )

    def drop(self, name: str) -> None:
        """Drop a database of ours and end its connections; fine when it is gone already.

        Raises NotOursError, and touches nothing, when it does not bear our mark.
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
            if not isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
                raise
            # An autovacuum worker counts as a superuser's session; without FORCE it is sent away.
            self._execute(statement)

    def keep_aside(self, name: str, kept_name: str) -> None:
        """Give up a database of ours without dropping it: its mark says that a user wants it.

        Ends its connections.
        """
        database = self.require_ours(name)
        assert database.mark is not None
        self._end_sessions(name)
        self.rename(database, kept_name, replace(database.mark, kind="kept"))

    def rename(
        self, database: ServerDatabase, new_name: str, mark: Mark, *, disallow: bool = False
    ) -> None:
        """Give a database of ours, as it was found, another name and mark, in one transaction.

        Nobody may be connected to it. ``disallow``: nor may anybody connect from then on.
        """
        quoted = quote_identifier(require_ours(database, database.name).name)
        self._execute(
            f"{_comment(quoted, mark)};"
            f" ALTER DATABASE {quoted} WITH ALLOW_CONNECTIONS {not disallow};"
            f" ALTER DATABASE {quoted} RENAME TO {quote_identifier(new_name)}"
        )

    def disallow_connections(self, database: ServerDatabase) -> None:
        """Let nobody connect to a database of ours, as it was found; who is connected stays."""
        quoted = quote_identifier(require_ours(database, database.name).name)
        self._execute(f"ALTER DATABASE {quoted} WITH ALLOW_CONNECTIONS false")

    def is_like_new_clone(self, name: str, template: str, mark: Mark, *, at_most: int) -> bool:
        """Whether ``name`` is what a clone of ``template`` is, in all that no reset sees.

        ``at_most``: bytes that it may take.
        """
        row = self._fetch(load_sql("_server", "as_cloned"), name, template, CONNECTION_LIMIT)
        now = self._with_current_settings(name, mark)
        return (
            bool(row and row[0]["same"])
            and now.size <= at_most
            and now == replace(mark, size=now.size)
        )

    def count_other_sessions(self, name: str, pid: int) -> int:
        """How many sessions a database has beside ``pid``, and end those that are idle."""
        count: int = self._fetch(load_sql("_server", "others"), name, pid)[0][0]
        return count

    def record_use(self, name: str) -> None:
        """Note in the mark of a template that it is in use."""
        mark = self.require_ours(name).mark
        assert mark is not None
        self._comment(name, replace(mark, used=int(time.time())))

    def record_proved(self, name: str, proved: Iterable[str]) -> None:
        """Add to the mark of a template what a check of its migrations has proved."""
        with self.locked(name):
            mark = self.require_ours(name).mark
            assert mark is not None
            known = tuple(sorted({*mark.proved, *proved}))
            self._comment(name, replace(mark, proved=known))

    # Locks

    def lease(self, name: str) -> None:
        """Claim ``name`` for as long as this process lives: a kill -9 frees it too."""
        if not self.try_lease(name):
            raise ServerError(
                f'the database name "{name}" is in use by another process',
                hint="run again, or wait until it has ended",
            )

    def try_lease(self, name: str) -> bool:
        """The same; False when another process has it."""
        return self._session.lease(name)

    def holds_lease(self, name: str) -> bool:
        """Whether this connection has claimed ``name``."""
        return self._session.holds_lease(name)

    def unleased(self, names: Collection[str]) -> list[str]:
        """Those of the names that no process has claimed."""
        return [
            row["name"]
            for row in self._fetch(load_sql("_server", "unclaimed"), list(names), LOCK_SEED)
        ]

    def release(self, name: str) -> None:
        self._session.release(name)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock ``name`` against every host that uses this server."""
        with self._session.locked(name):
            yield

    # Below the surface

    def _execute(self, statement: str) -> None:
        self._session.execute(statement)

    def _fetch(self, query: str, *arguments: object) -> list[Any]:
        return self._session.fetch(query, *arguments)

    def _list(self, name: str | None) -> list[ServerDatabase]:
        return [
            ServerDatabase(
                row["name"], row["sealed"], row["limit"], parse_mark(row["comment"]), row["leased"]
            )
            for row in self._fetch(load_sql("_server", "databases"), name, LOCK_SEED)
        ]

    def _create(self, name: str, mark: Mark, options: str) -> None:
        quoted = quote_identifier(name)
        with explain_missing_features(self.url):
            self._execute(f"CREATE DATABASE {quoted} {options} CONNECTION LIMIT {CONNECTION_LIMIT}")
        self._comment(name, mark)
        self._apply_settings(name, mark)

    def _comment(self, name: str, mark: Mark) -> None:
        self._execute(_comment(quote_identifier(name), mark))

    def _end_sessions(self, name: str) -> None:
        self._fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = $1 AND pg_has_role(usesysid, 'USAGE')",  # autovacuum gives way
            name,
        )

    def _renames(self, scratch: str, final: str) -> Iterator[str]:
        aside = f"{scratch}_old"  # a name for within the transaction, which nobody ever sees
        old = self.find(final)
        steps = [(scratch, final)]
        if old is not None:
            steps = [(require_ours(old, final).name, aside), *steps, (aside, scratch)]
        for before, after in steps:
            yield f"ALTER DATABASE {quote_identifier(before)} RENAME TO {quote_identifier(after)}"

    def strategy(self) -> str:
        """FILE_COPY waits for checkpoints, which cost little where nothing is flushed to disk."""
        cheap = not self.facts.fsync or self.facts.file_copy_method == "clone"
        return "FILE_COPY" if cheap else "WAL_LOG"

    def _with_current_settings(self, name: str, mark: Mark) -> Mark:
        row = self._fetch(load_sql("_server", "settings"), name)[0]
        settings = tuple((key, value) for key, value in json.loads(row["settings"]))
        grants = tuple(json.loads(row["grants"])) if row["has_acl"] else None
        return replace(mark, settings=settings, grants=grants, size=row["size"])

    def _apply_settings(self, name: str, mark: Mark) -> None:
        """Give a database the settings and privileges that its mark lists."""
        quoted = quote_identifier(name)
        for key, value in mark.settings:
            # FROM CURRENT spares us the quoting rules, which differ from setting to setting.
            self._execute(
                f"SELECT set_config({quote_literal(key)}, {quote_literal(value)}, true);"
                f" ALTER DATABASE {quoted} SET {quote_identifier(key)} FROM CURRENT"
            )
        if mark.grants is not None:
            grants = "".join(f"; {grant % quoted}" for grant in mark.grants)
            self._execute(f"REVOKE ALL ON DATABASE {quoted} FROM PUBLIC{grants}")


def _comment(quoted: str, mark: Mark) -> str:
    return f"COMMENT ON DATABASE {quoted} IS {quote_literal(mark.dumps())}"
