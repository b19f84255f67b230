"""Runs resets in one database, on a connection of its own, and ends what stands in the way."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate import _portal
from pytest_pgtemplate._connect import Connection, connect, explain
from pytest_pgtemplate._names import literal
from pytest_pgtemplate._reset._install import act_as_replica, install_for_session, sql

GRACE = 0.5  # seconds that a reset waits for a transaction that is still open

# What a session might have inherited from ALTER DATABASE or ALTER ROLE .. SET. A reset has to see
# what was committed while it waited for a lock.
_SESSION = """
    SET default_transaction_isolation = 'read committed';
    SET default_transaction_read_only = off;
    SET statement_timeout = 0;
    SET lock_timeout = 0;
"""


@dataclass(frozen=True)
class Leak:
    """A transaction that a test left open, and that a reset had to end."""

    kind: str  # the state of its session, or "prepared transaction"
    pid: int | None
    application: str
    age: float  # seconds
    query: str  # the last one, or the name of the prepared transaction

    def __str__(self) -> str:
        whose = f", pid {self.pid}, application {self.application or 'unnamed'}" if self.pid else ""
        return f"{self.kind}{whose}, {self.age:.1f} s old: {self.query}"


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
        self._vacuum: asyncio.Task[str] | None = None
        self._run(self._open())

    def reset(self) -> Outcome:
        """Put back what differs, ending transactions that are still open after ``GRACE`` s."""
        outcome: Outcome = self._run(self._reset())
        return outcome

    def close(self) -> None:
        self._run(self._close())

    def _run(self, coroutine: Any) -> Any:
        try:
            return _portal.run(coroutine, timeout=self._timeout)
        except Exception as error:
            raise explain(error, self._url) from error

    async def _open(self) -> None:
        self._connection: Connection = await self._connect()
        await self._connection.execute(_SESSION)
        installed = await self._connection.fetchval("SELECT to_regnamespace('pgtemplate')")
        self.tracking = "triggers" if installed else "scan"
        if installed:
            await act_as_replica(self._connection)
        else:
            await install_for_session(self._connection)
        schema = "pgtemplate" if installed else "pg_temp"
        self._pid = self._connection.get_server_pid()
        self._call = await self._connection.prepare(f"SELECT {schema}.reset()")

    async def _connect(self) -> Connection:
        return await connect(
            self._url, timeout=self._timeout, application="pytest-pgtemplate reset"
        )

    async def _close(self) -> None:
        await self._finish_vacuum()
        await self._connection.close()

    async def _reset(self) -> Outcome:
        await self._finish_vacuum()
        watch = _Watch(self)
        try:
            bloated = await self._call.fetchval()
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
        ) as error:  # what cannot be put back is cloned afresh
            return Outcome(str(error), await watch.stop())
        if bloated:
            tables = ", ".join(bloated)
            self._vacuum = asyncio.create_task(self._connection.execute(f"VACUUM {tables}"))
        stale = "its schema was changed" if bloated is None else None
        return Outcome(stale, await watch.stop())

    async def _finish_vacuum(self) -> None:
        """It runs while the next test does, and has to be over before the next reset."""
        if self._vacuum is not None:
            with suppress(asyncpg.PostgresError):  # that test may have dropped the table
                await self._vacuum
            self._vacuum = None


class _Watch:
    """Ends what a reset still waits for after ``GRACE`` seconds, and keeps a record of it."""

    def __init__(self, resetter: Resetter) -> None:
        self._resetter = resetter
        self._leaks: list[Leak] = []
        self._ending: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(GRACE, self._begin)

    async def stop(self) -> tuple[Leak, ...]:
        self._timer.cancel()
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.wait([self._ending])
        return tuple(self._leaks)

    def _begin(self) -> None:
        self._ending = asyncio.create_task(self._end_blockers())

    async def _end_blockers(self) -> None:
        connection = await self._resetter._connect()
        try:
            while True:
                for row in await connection.fetch(sql("blockers"), self._resetter._pid):
                    await self._end(connection, row)
                await asyncio.sleep(GRACE / 10)
        finally:
            connection.terminate()

    async def _end(self, connection: Connection, row: Any) -> None:
        if row["pid"] is None:
            await connection.execute(f"ROLLBACK PREPARED {literal(row['query'])}")
        else:
            await connection.execute(f"SELECT pg_terminate_backend({row['pid']})")
        self._leaks.append(Leak(**dict(row)))
