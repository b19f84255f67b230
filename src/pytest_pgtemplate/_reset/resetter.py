"""Runs resets in one database, on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate._reset.blocker_watch import GRACE, BlockerWatch, Leak
from pytest_pgtemplate._reset.caller_loop import CallerLoop
from pytest_pgtemplate._reset.scripts import install_for_session, prepare_session, read_sql
from pytest_pgtemplate._reset.snapshot import Details, Difference, LayerChanges, State
from pytest_pgtemplate._reset.verifier import Verifier
from pytest_pgtemplate._server import CONNECTION_LOST, Connection, connect, explain, quote_literal

_CHANGED = "its schema was changed"


@dataclass(frozen=True)
class ResetResult:
    """What a reset found. ``reclone_reason``: why only a new clone helps, or None."""

    reclone_reason: str | None
    leaks: tuple[Leak, ...]
    written: tuple[int, ...] = field(default=(), compare=False)  # tables, as ``names`` knows them
    changes: int | None = None  # rows that came or went with a new layer; None: nothing changed
    differences: tuple[Difference, ...] = ()  # between the database and its expected state


@dataclass(frozen=True)
class SavedLayers:
    """Layers on their way from one database to another."""

    numbers: frozenset[int]
    state: str = field(repr=False)
    expected: list[LayerChanges] = field(repr=False)


class Resetter:
    """Brings one database back to its state: that of the template, and the layers on top of it.

    A layer is known by a number above 0. Every method takes at most ``timeout`` seconds and raises
    ServerError. With ``verify`` every reset compares the whole database with its expected state.
    """

    def __init__(self, url: URL, *, timeout: float, verify: bool = False) -> None:
        self._url = url
        self._timeout = timeout
        self._verify = verify
        self._vacuum: asyncio.Task[None] | None = None
        self._layers: set[int] = set()
        self._names: dict[int, str] = {}
        self._loop = CallerLoop()
        try:
            self._run(self._open())
        except BaseException:
            self._loop.close()
            raise

    def reset(
        self, removed: Collection[int] = (), while_waiting: Callable[[], None] | None = None
    ) -> ResetResult:
        """Put back what differs, ending transactions that are still open after ``GRACE`` s.

        The layers in ``removed`` are no longer part of the state. ``while_waiting`` is called while
        the server works.
        """
        outcome: ResetResult = self._run(self._reset(list(removed)), while_waiting)
        return outcome

    def table_names(self, tables: Collection[int]) -> list[str]:
        """What tables that were written are called."""
        if tables and not self._names:
            self._names.update(self._run(self._connection.fetch(self._named)))
        return sorted(self._names[table] for table in tables if table in self._names)

    def reset_all(self) -> ResetResult:
        """Go back to the state of the template: no layer stays."""
        return self.reset(self._layers)

    def add_layer(self, layer: int) -> ResetResult:
        """Take what was written since the last reset into the state, as part of ``layer``.

        Transactions that are open are ended as in a reset.
        """
        outcome: ResetResult = self._run(self._add_layer(layer))
        return outcome

    def try_add_layer(self, layer: int) -> ResetResult | None:
        """The same; None, and nothing is done, while a transaction is open that has written."""
        outcome: ResetResult | None = self._run(self._try_add_layer(layer))
        return outcome

    def current_xid(self) -> str:
        """A moment, to be given to ``wrote_since``."""
        now: str = self._run(self._fetch("SELECT pg_current_xact_id()::xid::text"))
        return now

    def wrote_since(self, moment: str) -> bool:
        """Whether anybody has committed since then what they wrote to a table."""
        query = f"SELECT {self._schema}.wrote_since($1::text::xid)"
        wrote: bool = self._run(self._fetch(query, moment))
        return wrote

    def find_dependency(self, below: Collection[int], above: Collection[int]) -> list[int] | None:
        """A layer ``above`` and one ``below``, whose rows the first changed or refers to."""
        query = f"SELECT {self._schema}.built_on($1, $2)"
        found: list[int] | None = self._run(self._fetch(query, list(below), list(above)))
        return found

    def save_layers(self, removed: Collection[int] = ()) -> SavedLayers | None:
        """What a new clone needs to get the layers of this database, without those ``removed``."""
        staying = self._layers - set(removed)
        if not staying:
            return None
        expected = self._verifier.layers(without=removed)
        return SavedLayers(
            frozenset(staying), self._run(self._save_layers(list(removed))), expected
        )

    def load_layers(self, layers: SavedLayers) -> None:
        """Bring this database, which is a new clone, to the state of the one that saved them."""
        self._run(self._fetch(f"SELECT {self._schema}.load_layers($1)", layers.state))
        self._layers = set(layers.numbers)
        self._verifier.load_layers(layers.expected)

    def verify(self) -> tuple[Difference, ...]:
        """Compare the database with its expected state now, if it was opened for that."""
        found: tuple[Difference, ...] = self._run(self._verifier.compare())
        return found

    def read_details(self, differences: Collection[Difference]) -> Details:
        """What the database holds of the things that differ."""
        details: Details = self._run(self._verifier.read_details(differences))
        return details

    def read_state(self, boundary: str) -> State:
        """What the database holds, to be compared with the seal of its template."""
        state: State = self._run(self._verifier.read_since(boundary))
        return state

    def close(self) -> None:
        """Disconnect, and see the session gone; fine when the connection is lost already."""
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
        if not triggers:
            await install_for_session(self._connection, replica=replica)
        self.tracking = "triggers" if triggers else "scan"
        self._schema = "pgtemplate" if triggers else "pg_temp"
        self._verifier = Verifier(self._connection, self._schema)
        if self._verify:
            await self._verifier.begin()
        self._named = f"SELECT id, name FROM {self._schema}.relation"
        reset = (  # asyncpg knows oid[], and would ask the catalogs, for ms, what int[] is
            f"SELECT tables, {self._schema}.reset($1::oid[]::int[], tables)"
            f" FROM (SELECT {self._schema}.written() AS tables OFFSET 0) AS log"
        )
        self._call = await self._connection.prepare(reset)

    async def _connect(self) -> Connection:
        return await connect(
            self._url, timeout=self._timeout, application="pytest-pgtemplate reset"
        )

    async def _close(self) -> None:
        with suppress(asyncpg.PostgresError, *CONNECTION_LOST):
            await self._finish_vacuum()
            await self._end_prepared()
        with suppress(TimeoutError, asyncpg.PostgresError, *CONNECTION_LOST):  # it is aborted then
            await self._connection.close(timeout=GRACE)

    async def _end_prepared(self) -> None:
        """A database cannot be dropped while a transaction is prepared in it."""
        for (gid,) in await self._connection.fetch(
            "SELECT gid FROM pg_prepared_xact() JOIN pg_database d ON d.oid = dbid"
            " WHERE d.datname = current_database()"
        ):
            await self._connection.execute(f"ROLLBACK PREPARED {quote_literal(gid)}")

    async def _reset(self, removed: list[int]) -> ResetResult:
        await self._finish_vacuum()
        watch = BlockerWatch(self.pid, self._connect)
        differences: tuple[Difference, ...] = ()
        try:
            written, grown = await self._call.fetchrow(removed)
            reclone_reason = _CHANGED if grown is None else None
            if reclone_reason is None:
                self._layers -= set(removed)
                self._verifier.remove_layers(removed)
                differences = await self._verifier.compare()
        except (asyncpg.PostgresError, *CONNECTION_LOST) as error:
            # What cannot be put back is cloned afresh.
            written, grown, reclone_reason = (), None, str(error)
        finally:
            leaks = await watch.stop()
        if grown:
            self._vacuum = asyncio.create_task(self._vacuum_tables(grown))
        return ResetResult(reclone_reason, leaks, tuple(written), differences=differences)

    async def _add_layer(self, layer: int) -> ResetResult:
        watch = BlockerWatch(self.pid, self._connect)
        try:
            outcome = await self._call_add_layer(layer, patient=True)
        finally:
            leaks = await watch.stop()
        return replace(outcome, leaks=leaks)

    async def _try_add_layer(self, layer: int) -> ResetResult | None:
        try:
            return await self._call_add_layer(layer, patient=False)
        except asyncpg.LockNotAvailableError:
            return None

    async def _call_add_layer(self, layer: int, *, patient: bool) -> ResetResult:
        await self._finish_vacuum()
        query = f"SELECT * FROM {self._schema}.keep($1, $2)"
        row = await self._connection.fetchrow(query, layer, patient)
        if row["changes"] is not None:
            self._layers.add(layer)
            await self._verifier.add_layer(layer)
        return ResetResult(_CHANGED if row["stale"] else None, (), changes=row["changes"])

    async def _save_layers(self, removed: list[int]) -> Any:
        await self._finish_vacuum()
        transaction = self._connection.transaction()
        await transaction.start()
        try:
            await self._fetch(f"SELECT {self._schema}.forget_layers($1)", removed)
            return await self._fetch(f"SELECT {self._schema}.save_layers()")
        finally:
            await transaction.rollback()

    async def _fetch(self, query: str, *arguments: object) -> Any:
        await self._finish_vacuum()
        return await self._connection.fetchval(query, *arguments)

    async def _vacuum_tables(self, tables: list[str]) -> None:
        """It runs while the next test does. A table that is locked can wait."""
        await self._connection.execute(f"VACUUM (SKIP_LOCKED) {', '.join(tables)}")

    async def _finish_vacuum(self) -> None:
        """It has to be over before anything else: it has our connection."""
        vacuum, self._vacuum = self._vacuum, None
        if vacuum is None:
            return
        await asyncio.wait([vacuum], timeout=GRACE)
        vacuum.cancel()  # unless it is done
        with suppress(asyncpg.PostgresError, asyncio.CancelledError, *CONNECTION_LOST):
            await vacuum  # the test may have dropped the table
