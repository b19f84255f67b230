"""The Python that runs the SQL beside it, on an admin connection of its own."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate import _portal
from pytest_pgtemplate._connect import Connection, connect, explain

LOCK_TIMEOUT = 2.0  # seconds that a reset waits for a transaction that a test left open


class Resetter:
    """Knows the state of one database at the time it was made, and brings it back.

    Every method takes at most ``timeout`` seconds and raises ServerError.
    """

    def __init__(self, url: URL, *, major: int, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._connection: Connection = self._run(self._open(major))

    def reset(self) -> int:
        """Put back what differs; return the number of tables that did."""
        tables: int = self._run(self._reset())
        return tables

    def close(self) -> None:
        self._run(self._connection.close())

    def _run(self, coroutine: Any) -> Any:
        try:
            return _portal.run(coroutine, timeout=self._timeout)
        except Exception as error:
            raise explain(error, self._url) from error

    async def _open(self, major: int) -> Connection:
        connection = await connect(
            self._url, timeout=self._timeout, application="pytest-pgtemplate reset"
        )
        replica = await _may_act_as_replica(connection)
        await connection.execute("; ".join(_scripts(major, replica=replica)))
        await connection.execute(f"SET lock_timeout = {int(LOCK_TIMEOUT * 1000)}")
        return connection

    async def _reset(self) -> int:
        try:
            return await self._call()
        except asyncpg.LockNotAvailableError:
            await self._connection.execute(_sql("end_others"))
            return await self._call()

    async def _call(self) -> int:
        tables: int = await self._connection.fetchval("SELECT pg_temp.reset()")
        return tables


async def _may_act_as_replica(connection: Connection) -> bool:
    try:
        await connection.execute("SET session_replication_role = replica")
    except asyncpg.InsufficientPrivilegeError:
        return False
    await connection.execute("RESET session_replication_role")
    return True


def _scripts(major: int, *, replica: bool) -> Iterator[str]:
    moved = "moved_18" if major >= 18 else "moved_13"
    restore = "restore" if replica else "restore_plain"
    for name in ("baseline", "scan", moved, "large_objects", restore, "reset"):
        yield _sql(name).replace("pgtemplate.", "pg_temp.")


def _sql(name: str) -> str:
    return files(__package__).joinpath(f"{name}.sql").read_text("utf-8")
