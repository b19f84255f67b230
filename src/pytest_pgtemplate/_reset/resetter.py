"""Reset one database, over a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate._internals.asyncpg import disconnect_in_fork
from pytest_pgtemplate._reset.blocker_watch import GRACE, BlockerWatch, Leak
from pytest_pgtemplate._reset.caller_loop import CallerLoop
from pytest_pgtemplate._reset.late_commits import LateCommits
from pytest_pgtemplate._reset.scripts import (
    install_for_session,
    is_intact,
    prepare_session,
    read_sql,
)
from pytest_pgtemplate._reset.snapshot import Details, Difference, LayerChanges, State
from pytest_pgtemplate._reset.verifier import Verifier
from pytest_pgtemplate._server import (
    CONNECTION_LOST,
    Connection,
    connect,
    explain,
    forks,
    roll_back_prepared,
)

_CHANGED = "the schema changed"


@dataclass(frozen=True)
class ResetResult:
    """The outcome of a reset. ``reclone_reason``: why the database needs a new clone, or None."""

    reclone_reason: str | None
    leaks: tuple[Leak, ...]
    written: tuple[int, ...] = field(default=(), compare=False)  # oids, for ``table_names``
    changes: int | None = None  # rows that a new layer added or removed; None: nothing changed
    differences: tuple[Difference, ...] = ()  # between the database and its expected state


@dataclass(frozen=True)
class SavedLayers:
    """The layers of a database, for ``load_layers`` in its new clone."""

    numbers: frozenset[int]
    state: str = field(repr=False)
    expected: list[LayerChanges] = field(repr=False)


class Resetter:
    """Resets one database to its state: the state of the template plus the active layers.

    Layers have numbers above 0. With ``verify``, every reset compares the whole database with its
    expected state. Every method takes at most ``timeout`` seconds and raises ServerError.
    """

    def __init__(self, url: URL, *, timeout: float, verify: bool = False) -> None:
        self._url = url
        self._timeout = timeout
        self._verify = verify
        self._vacuum: asyncio.Task[str] | None = None
        self._layers: set[int] = set()
        self._names: dict[int, str] = {}
        self._loop = CallerLoop()
        forks.register(self)
        try:
            self._run(self._open())
        except BaseException:
            self._loop.close()
            raise

    def after_fork(self) -> None:
        """In a forked child, which must not reset this database: the parent does."""
        disconnect_in_fork(self._connection)

    def reset(
        self, removed: Collection[int] = (), while_waiting: Callable[[], None] | None = None
    ) -> ResetResult:
        """Restore the state without the layers ``removed``.

        Ends transactions that are still open after ``GRACE`` seconds. Calls ``while_waiting`` while
        the server works.
        """
        result: ResetResult = self._run(self._reset(list(removed)), while_waiting)
        return result

    def table_names(self, tables: Collection[int]) -> list[str]:
        """Return the names of the tables with these oids (``ResetResult.written``)."""
        if tables and not self._names:
            self._names.update(self._run(self._connection.fetch(self._named)))
        return sorted(self._names[table] for table in tables if table in self._names)

    def reset_all(self) -> ResetResult:
        """Restore the state of the template, without any layer."""
        return self.reset(self._layers)

    def add_layer(self, layer: int) -> ResetResult:
        """Make everything written since the last reset part of the state, as ``layer``.

        Ends open transactions like a reset.
        """
        result: ResetResult = self._run(self._add_layer(layer))
        return result

    def try_add_layer(self, layer: int) -> ResetResult | None:
        """Do the same, but return None and change nothing if an open transaction has written."""
        result: ResetResult | None = self._run(self._try_add_layer(layer))
        return result

    def current_xid(self) -> str:
        """Return the current transaction id, for ``wrote_since``."""
        xid: str = self._run(self._fetch("SELECT pg_current_xact_id()::xid::text"))
        return xid

    def wrote_since(self, xid: str) -> bool:
        """Whether a transaction younger than ``xid`` has written to a table and committed."""
        query = f"SELECT {self._schema}.wrote_since($1::text::xid)"
        wrote: bool = self._run(self._fetch(query, xid))
        return wrote

    def find_dependency(self, below: Collection[int], above: Collection[int]) -> list[int] | None:
        """Return a layer of ``above`` and the layer of ``below`` whose rows it changed or uses."""
        query = f"SELECT {self._schema}.find_dependency($1, $2)"
        pair: list[int] | None = self._run(self._fetch(query, list(below), list(above)))
        return pair

    def save_layers(self, removed: Collection[int] = ()) -> SavedLayers | None:
        """Return the layers of this database except ``removed``, for a new clone."""
        remaining = self._layers - set(removed)
        if not remaining:
            return None
        expected = self._verifier.layers(without=removed)
        state = self._run(self._save_layers(list(removed)))
        return SavedLayers(frozenset(remaining), state, expected)

    def load_layers(self, layers: SavedLayers) -> None:
        """Apply saved layers to this database, which is a new clone."""
        self._run(self._fetch(f"SELECT {self._schema}.load_layers($1)", layers.state))
        self._layers = set(layers.numbers)
        self._verifier.load_layers(layers.expected)

    def verify(self) -> tuple[Difference, ...]:
        """Compare the database with its expected state now, if it was opened for that."""
        found: tuple[Difference, ...] = self._run(self._verifier.compare())
        return found

    def read_details(self, differences: Collection[Difference]) -> Details:
        """Read the objects and rows behind ``differences``."""
        details: Details = self._run(self._verifier.read_details(differences))
        return details

    def read_state(self, boundary: str) -> State:
        """Read the state of the database, to compare it with the seal of its template."""
        state: State = self._run(self._verifier.read_since(boundary))
        return state

    def close(self) -> None:
        """Disconnect, and wait until the server has ended the session."""
        if not self._loop.closed:
            self._run(self._close())
            self._loop.close()

    def _run(self, coroutine: Any, while_waiting: Callable[[], None] | None = None) -> Any:
        try:
            return self._loop.run(coroutine, timeout=self._timeout, while_waiting=while_waiting)
        except Exception as error:
            raise explain(error, self._url) from error

    async def _open(self) -> None:
        self._connection = await self._connect()
        try:
            await self._make_ready()
        except BaseException:
            self._connection.terminate()
            raise

    async def _make_ready(self) -> None:
        replica = await prepare_session(self._connection)
        row = await self._connection.fetchrow(read_sql("installed"))
        triggers, self.event_triggers = bool(row["triggers"]), bool(row["event_triggers"])
        self.pid: int = row["pid"]
        self.stand_ins: list[str] = row["stand_ins"]
        self.unlogged_data: bool = row["unlogged_data"]
        self.intact = not triggers or await is_intact(self._connection)
        if not triggers:
            await install_for_session(self._connection, replica=replica)
        self.tracking = "triggers" if triggers else "scan"
        self._schema = "pgtemplate" if triggers else "pg_temp"
        uncovered = await self._connection.fetchval(f"SELECT {self._schema}.uncovered()")
        self.uncovered: list[str] = uncovered or []
        self._late_commits = LateCommits(self._connection)
        self._verifier = Verifier(self._connection, self._schema)
        if self._verify:
            await self._verifier.begin()
        self._named = f"SELECT id, name FROM {self._schema}.relation"
        # oid[], because asyncpg would look up the type int[] in the catalogs, for some ms. OFFSET 0
        # keeps the planner from calling written_tables() twice.
        reset = (
            f"SELECT tables, {self._schema}.reset($1::oid[]::int[], tables)"
            f" FROM (SELECT {self._schema}.written_tables() AS tables OFFSET 0) AS log"
        )
        self._call = await self._connection.prepare(reset)

    async def _connect(self) -> Connection:
        application = "pytest-pgtemplate reset"
        return await connect(self._url, timeout=self._timeout, application=application)

    async def _close(self) -> None:
        with suppress(asyncpg.PostgresError, *CONNECTION_LOST):
            await self._finish_vacuum()
            await roll_back_prepared(self._connection)  # or DROP DATABASE fails
        with suppress(TimeoutError, asyncpg.PostgresError, *CONNECTION_LOST):
            await self._connection.close(timeout=GRACE)

    async def _reset(self, removed: list[int]) -> ResetResult:
        await self._finish_vacuum()
        watch = BlockerWatch(self.pid, self._connect)
        late: tuple[Leak, ...] = ()
        differences: tuple[Difference, ...] = ()
        try:
            written, (grown, unlocked, still_open) = await self._call.fetchrow(removed)
            reclone_reason = _CHANGED if grown is None else None
            late = await self._late_commits.find(written, changed=grown is None or bool(unlocked))
            self._late_commits.record(still_open)
            if reclone_reason is None:
                self._layers -= set(removed)
                self._verifier.remove_layers(removed)
                differences = await self._verifier.compare()
        except (asyncpg.PostgresError, *CONNECTION_LOST) as error:
            # If a reset fails for any reason, a new clone has the right state.
            written, grown, reclone_reason = (), None, str(error).partition("\n")[0]
            with suppress(asyncpg.PostgresError, *CONNECTION_LOST):
                late = await self._late_commits.find(changed=True)
        finally:
            leaks = await watch.stop()
        if grown:  # during the next test, without the tables that it has locked
            vacuum = f"VACUUM (SKIP_LOCKED) {', '.join(grown)}"
            self._vacuum = asyncio.create_task(self._connection.execute(vacuum))
        return ResetResult(reclone_reason, leaks + late, tuple(written), differences=differences)

    async def _add_layer(self, layer: int) -> ResetResult:
        watch = BlockerWatch(self.pid, self._connect)
        try:
            result = await self._call_add_layer(layer, wait=True)
        finally:
            leaks = await watch.stop()
        return replace(result, leaks=leaks)

    async def _try_add_layer(self, layer: int) -> ResetResult | None:
        try:
            return await self._call_add_layer(layer, wait=False)
        except asyncpg.LockNotAvailableError:
            return None

    async def _call_add_layer(self, layer: int, *, wait: bool) -> ResetResult:
        await self._finish_vacuum()
        query = f"SELECT * FROM {self._schema}.add_layer($1, $2)"
        row = await self._connection.fetchrow(query, layer, wait)
        if row["changes"] is not None:
            self._layers.add(layer)
            await self._verifier.add_layer(layer)
        return ResetResult(_CHANGED if row["needs_reclone"] else None, (), changes=row["changes"])

    async def _save_layers(self, removed: list[int]) -> Any:
        await self._finish_vacuum()
        transaction = self._connection.transaction()
        await transaction.start()
        try:
            await self._fetch(f"SELECT {self._schema}.remove_layer_records($1)", removed)
            return await self._fetch(f"SELECT {self._schema}.save_layers()")
        finally:
            await transaction.rollback()

    async def _fetch(self, query: str, *arguments: object) -> Any:
        await self._finish_vacuum()
        return await self._connection.fetchval(query, *arguments)

    async def _finish_vacuum(self) -> None:
        """Wait for a VACUUM of the previous reset: it occupies the connection."""
        vacuum, self._vacuum = self._vacuum, None
        if vacuum is None:
            return
        await asyncio.wait([vacuum], timeout=GRACE)
        vacuum.cancel()  # unless it is done
        with suppress(asyncpg.PostgresError, asyncio.CancelledError, *CONNECTION_LOST):
            await vacuum  # the test may have dropped the table
