"""Runs resets in one database, on a connection of its own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate._names import literal
from pytest_pgtemplate._reset.scripts import install_for_session, prepare_session, sql
from pytest_pgtemplate._reset.watch import GRACE, Leak, Watch
from pytest_pgtemplate._server import Connection, connect, explain, portal

# How asyncpg says that a connection is gone, next to its PostgresConnectionError.
_LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


@dataclass(frozen=True)
class Outcome:
    """What a reset found. ``stale``: why only a new clone helps, or None."""

    stale: str | None
    leaks: tuple[Leak, ...]


class Resetter:
    """Brings one database back to the state that it had when it was cloned.

    Every method takes at most ``timeout`` seconds and raises ServerError.
    """

    def __init__(self, url: URL, *, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._vacuum: asyncio.Task[None] | None = None
        self._run(self._open())

    def reset(self) -> Outcome:
        """Put back what differs, ending transactions that are still open after ``GRACE`` s."""
        outcome: Outcome = self._run(self._reset())
        return outcome

    def close(self) -> None:
        """Disconnect; fine when the connection is lost already."""
        self._run(self._close())

    def _run(self, coroutine: Any) -> Any:
        try:
            return portal.run(coroutine, timeout=self._timeout)
        except Exception as error:
            raise explain(error, self._url) from error

    async def _open(self) -> None:
        self._connection = await self._connect()
        self._pid: int = self._connection.get_server_pid()
        replica = await prepare_session(self._connection)
        row = await self._connection.fetchrow(sql("installed"))
        triggers, self.event_triggers = bool(row["triggers"]), bool(row["event_triggers"])
        if not triggers:
            await install_for_session(self._connection, replica=replica)
        self.tracking = "triggers" if triggers else "scan"
        schema = "pgtemplate" if triggers else "pg_temp"
        self._call = await self._connection.prepare(f"SELECT {schema}.reset()")

    async def _connect(self) -> Connection:
        return await connect(
            self._url, timeout=self._timeout, application="pytest-pgtemplate reset"
        )

    async def _close(self) -> None:
        with suppress(asyncpg.PostgresError, *_LOST):
            await self._finish_vacuum()
            await self._end_prepared()
        self._connection.terminate()

    async def _end_prepared(self) -> None:
        """A database cannot be dropped while a transaction is prepared in it."""
        for (gid,) in await self._connection.fetch(
            "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
        ):
            await self._connection.execute(f"ROLLBACK PREPARED {literal(gid)}")

    async def _reset(self) -> Outcome:
        if self._vacuum is not None:
            await self._finish_vacuum()
        watch = Watch(self._pid, self._connect)
        try:
            grown = await self._call.fetchval()
            stale = "its schema was changed" if grown is None else None
        except (asyncpg.PostgresError, *_LOST) as error:
            grown, stale = None, str(error)  # what cannot be put back is cloned afresh
        finally:
            leaks = await watch.stop()
        if grown:
            self._vacuum = asyncio.create_task(self._give_back(grown))
        return Outcome(stale, leaks)

    async def _give_back(self, tables: list[str]) -> None:
        """It runs while the next test does. A table that is locked can wait."""
        await self._connection.execute(f"VACUUM (SKIP_LOCKED) {', '.join(tables)}")

    async def _finish_vacuum(self) -> None:
        """It has to be over before the next reset, which needs its connection."""
        vacuum, self._vacuum = self._vacuum, None
        if vacuum is None:
            return
        await asyncio.wait([vacuum], timeout=GRACE)
        vacuum.cancel()  # unless it is done
        with suppress(asyncpg.PostgresError, asyncio.CancelledError, *_LOST):
            await vacuum  # the test may have dropped the table
