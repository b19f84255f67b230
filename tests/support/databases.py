"""A database under test: a template from SQL text, its clone with a resetter, sessions, dumps.

Nothing here is a test.
"""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._embedded import binaries as _binaries
from pytest_pgtemplate._reset import ResetResult, Resetter, install, scripts
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server import portal as _portal
from pytest_pgtemplate._server.marks import Mark
from pytest_pgtemplate._server.quoting import quote_literal
from pytest_pgtemplate._template import Template
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import WorkerDatabase, WorkerOptions
from support.kinds import KINDS, TIMEOUT, Kind, server_as, url_of
from support.projects import execute, unique

RUN = "0a1b2c3d"
PLAIN = WorkerOptions()
EVERYTHING = Path(__file__).with_name("everything.sql").read_text("utf-8")
VIRTUAL = """
CREATE TABLE virtual (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL);
INSERT INTO virtual VALUES (1, 1), (2, NULL);
"""

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind = 'S' AS is_sequence
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE (c.relkind IN ('r', 'S') OR c.relkind = 'm' AND c.relispopulated)
   AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'pgtemplate')
"""
_LARGE_OBJECTS = """
SELECT 'large objects', format('%s %s %s %s %s', oid, lomowner, lomacl, lo_get(oid),
                               obj_description(oid, 'pg_largeobject'))
  FROM pg_largeobject_metadata
"""

_EMPTY = """
DROP SCHEMA IF EXISTS pgtemplate CASCADE;
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
SELECT lo_unlink(oid) FROM pg_largeobject_metadata;
"""

# The rows of each table, the value of each sequence and all large objects, in no order.
Dump = dict[str, "Counter[str]"]


class Session:
    """A connection for sync code. What takes longer than ``TIMEOUT`` seconds is an error."""

    def __init__(self, url: URL, application: str = "a test") -> None:
        settings = {"application_name": application, "lock_timeout": f"{TIMEOUT}s"}
        connecting = asyncpg.connect(str(_urls.asyncpg_dsn(url)), server_settings=settings)
        self.connection: Any = run(connecting)
        self.pid: int = self.connection.get_server_pid()

    def execute(self, *statements: str) -> None:
        for statement in statements:
            run(self.connection.execute(statement))

    def fetch(self, query: str, *arguments: object) -> list[Any]:
        rows: list[Any] = run(self.connection.fetch(query, *arguments))
        return rows

    def value(self, query: str, *arguments: object) -> Any:
        return run(self.connection.fetchval(query, *arguments))

    def start(self, statement: str) -> asyncio.Task[Any]:
        """Let a statement run; ``wait`` waits for its end."""

        async def begin() -> asyncio.Task[Any]:
            return asyncio.create_task(self.connection.execute(statement))

        task: asyncio.Task[Any] = run(begin())
        return task

    def copy(self, table: str, rows: list[tuple[object, ...]], schema: str = "public") -> None:
        run(self.connection.copy_records_to_table(table, records=rows, schema_name=schema))

    @property
    def is_open(self) -> bool:
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self.fetch("SELECT 1")
        return not self.connection.is_closed()

    def close(self) -> None:
        async def close() -> None:
            self.connection.terminate()

        run(close())


def run(awaitable: Any) -> Any:
    """Wait for it in the loop that all sessions share."""

    async def bounded() -> Any:
        return await asyncio.wait_for(awaitable, TIMEOUT)

    return _portal.run(bounded(), timeout=TIMEOUT + 1)


class Base:
    """A clone of a template with its resetter, as the role under test and as a superuser see it."""

    def __init__(
        self,
        server: Server,
        root: URL,
        template: Template,
        name: str,
        options: WorkerOptions = PLAIN,
    ) -> None:
        self.server = server
        self._options = options
        self.worker = WorkerDatabase(server, template, name, RUN, options)
        self.url = self.worker.database.url
        self.root_url = root.set(database=name)
        self._sessions: list[Session] = []
        self._dumper: Session | None = None
        self._dump_query = ""
        self.origin = self.dump()

    def session(self, application: str = "a test") -> Session:
        """A session of the role under test, closed with ``close_sessions``."""
        self._sessions.append(Session(self.url, application))
        return self._sessions[-1]

    def root(self) -> Session:
        """A session of a superuser."""
        self._sessions.append(Session(self.root_url))
        return self._sessions[-1]

    def execute(self, *statements: str) -> None:
        """Run each statement in a transaction of its own, in a session that ends then."""
        session = Session(self.url)
        try:
            session.execute(*statements)
        finally:
            session.close()

    def as_root(self, *statements: str) -> None:
        session = Session(self.root_url)
        try:
            session.execute(*statements)
        finally:
            session.close()

    def reset(self) -> ResetResult:
        return self.worker.reset()

    def reclone(self, removed: Collection[int] = ()) -> None:
        self._leave()
        self.worker.reclone(removed)

    def refill(self, script: str) -> None:
        """Replace the contents by those of ``script``; faster than a template and its clone."""
        tracking = self.worker.tracking
        self._leave()
        self.worker._resetter.close()
        if self.server.facts.major < 15:  # there, the schema public is not the database owner's
            self.as_root(f"ALTER SCHEMA public OWNER TO {self.server.facts.role}")
        try:
            self.execute(_EMPTY)
        except asyncpg.DeadlockDetectedError:
            # With autovacuum: ANALYZE locks a parent before its children, DROP SCHEMA after them.
            self.execute(_EMPTY)
        self.execute(script)
        install(self.url, tracking, timeout=TIMEOUT)
        verify = self.worker._verify
        self.worker._resetter = Resetter(self.url, timeout=TIMEOUT, verify=verify)
        self.origin = self.dump()

    def rebuild(self, script: str) -> None:
        """Replace the template by one that ``script`` makes, so that a re-clone is possible."""
        database, tracking = self.worker.database, self.worker.tracking
        prefix, _, _ = database.template.name.partition("_tpl_")
        self.close()
        self.server.drop(database.template.name)
        template = make_template(self.server, prefix, script, tracking)
        self.worker = WorkerDatabase(self.server, template, database.name, RUN, self._options)
        self.origin = self.dump()

    @contextmanager
    def kept_snapshot(self) -> Iterator[None]:
        """The session that resets and compares sees the rows of now."""
        resetter = self.worker.resetter
        # The first SELECT ends what asyncpg began when it prepared a statement.
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ"
        for statement in ("SELECT", begin, "SELECT FROM pg_class"):
            resetter._run(resetter._connection.execute(statement))
        try:
            yield
        finally:
            resetter._run(resetter._connection.execute("ROLLBACK"))

    def wait_for_end(self, pid: int) -> None:
        """Until the server has ended this session, of any role."""
        self._wait_while("SELECT FROM pg_stat_activity WHERE pid = $1", pid)

    def _wait_while(self, query: str, *arguments: object) -> None:
        deadline = time.monotonic() + TIMEOUT
        while self.server._fetch(query, *arguments):
            assert time.monotonic() < deadline, query
            time.sleep(0.002)

    def dump(self) -> Dump:
        if self._dumper is None:
            self._dumper = Session(self.root_url, "dump")
            self._dumper.execute("SET search_path = pg_catalog")  # whatever functions there are
            self._dump_query = _dump_query(self._dumper)
        dump: Dump = {}
        for name, body in self._dumper.fetch(self._dump_query):
            dump.setdefault(name, Counter())[body] += 1
        return dump

    def is_as_before(self) -> bool:
        """Whether it holds what it did at first; opened to verify, nothing at all may differ."""
        same = not difference(self.origin, self.dump())
        return not self.worker.resetter.verify() and same

    def provide(self, request: pytest.FixtureRequest) -> Iterator[Base]:
        """To one test; the next one gets a new clone if it fails."""
        failures = request.session.testsfailed
        yield self
        self.close_sessions()
        if request.session.testsfailed > failures:
            self.reclone()

    def close_sessions(self) -> None:
        for session in self._sessions:
            session.close()
        self._sessions = []

    def _leave(self) -> None:
        """A plain role may not end a superuser's session, and not drop a database with one."""
        self.close_sessions()
        if self._dumper is not None:
            self._dumper.close()
        self._dumper = None
        others = "SELECT FROM pg_stat_activity WHERE datname = $1 AND usename <> current_user"
        self._wait_while(others, self.worker.database.name)

    def close(self) -> None:
        self._leave()
        self.worker.close(drop=True)


def _dump_query(session: Session) -> str:
    parts = [_LARGE_OBJECTS]
    for name, is_sequence in session.fetch(_TABLES):
        label = quote_literal(name)
        if is_sequence:
            parts.append(f"SELECT {label}, format('%s %s', last_value, is_called) FROM {name}")
        else:
            parts.append(f"SELECT {label}, (t.*)::text FROM ONLY {name} AS t")
    return " UNION ALL ".join(parts)


def difference(before: Dump, after: Dump) -> dict[str, tuple[list[str], list[str]]]:
    """The rows that are missing and those that are new, per table."""
    found = {}
    for name in before.keys() | after.keys():
        old, new = before.get(name, Counter()), after.get(name, Counter())
        if old != new:
            removed, added = (old - new).elements(), (new - old).elements()
            found[name] = ([row[:200] for row in removed], [row[:200] for row in added])
    return found


def pg_dump(url: URL, bindir: Path) -> list[str]:
    """A dump by PostgreSQL's own program, as sorted lines, without what is ours."""
    dsn = str(_urls.dsn(url))
    command = [str(bindir / "pg_dump"), "--exclude-schema=pgtemplate", "-b", "-d", dsn]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
    return sorted(
        line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unr"))
    )


def bindir_of(server: Server) -> Path | None:
    """Where the programs of this server's major version are."""
    for _, place in _binaries._places():
        found = _binaries._inspect(place, "") if place else ""
        if not isinstance(found, _binaries.Binaries) or found.major != server.facts.major:
            continue
        if (found.bindir / "pg_dump").exists():
            return found.bindir
    return None


def make_template(
    server: Server,
    prefix: str,
    script: str,
    tracking: str,
    as_root: tuple[URL, str] | None = None,
) -> Template:
    """A sealed, resettable template made by ``script``, and by another one as a superuser."""
    fingerprint = secrets.token_hex(32)
    scratch = database_names.scratch(prefix, RUN)
    template = Template(database_names.template(prefix, fingerprint), fingerprint, built=True)
    server.create(scratch, Mark("scratch", RUN, fingerprint))
    try:
        execute(server.url, script, database=scratch)
        if as_root is not None:
            execute(*as_root, database=scratch)
        state = install(server.url.set(database=scratch), tracking, timeout=TIMEOUT)
        mark = Mark("template", RUN, fingerprint, state=state)
        server.publish(scratch, template.name, mark)
    except BaseException:
        server.drop(scratch)
        raise
    return template


@contextmanager
def database(
    request: pytest.FixtureRequest,
    kind: Kind,
    script: str,
    options: WorkerOptions = PLAIN,
    as_root: str = "",
    *,
    newer: tuple[int, str] | None = None,
) -> Iterator[Base]:
    """A clone of a template made by ``script``; nothing is left behind.

    ``newer``: what is added to it if the server has this major version, or a later one.
    """
    url = url_of(request, kind.server)
    with server_as(url, kind.role) as server:
        prefix = unique("t")
        if newer is not None and server.facts.major >= newer[0]:
            script += newer[1]
        # On each server, one role has only large tables, and the other one has small tables, too.
        with _many_are(0 if kind.superuser == (kind.server == "embedded") else scripts.MANY):
            template = make_template(
                server, prefix, script, kind.tracking, (url, as_root) if as_root else None
            )
            try:
                name = database_names.worker(prefix, RUN, "main")
                base = Base(server, url, template, name, options)
                try:
                    yield base
                finally:
                    base.close()
            finally:
                server.drop(template.name)
                for left in server.databases():  # such as spares that a re-clone has created
                    if left.name.startswith(f"{prefix}_"):
                        server.drop(left.name)


@contextmanager
def _many_are(rows: int) -> Iterator[None]:
    """Treat tables of few rows as large ones are: every situation then is one of large tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts, "MANY", rows)
        scripts.read_sql.cache_clear()
        yield
    scripts.read_sql.cache_clear()


@pytest.fixture(scope="module", params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def base(request: pytest.FixtureRequest, shared: Base) -> Iterator[Base]:
    """The database of the module's fixture ``shared``."""
    yield from shared.provide(request)
