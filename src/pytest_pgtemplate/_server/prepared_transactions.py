"""Roll back the prepared transactions of a database, which would prevent DROP DATABASE."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import URL

from pytest_pgtemplate._server import portal
from pytest_pgtemplate._server.connection import connect
from pytest_pgtemplate._server.quoting import quote_literal

# pg_prepared_xact() is the function behind pg_prepared_xacts, which takes longer to plan.
_PREPARED_IN_THIS_DATABASE = """
SELECT gid FROM pg_prepared_xact() JOIN pg_database d ON d.oid = dbid
 WHERE d.datname = current_database()
"""


async def roll_back_prepared(connection: Any) -> None:
    """Roll back the prepared transactions of the connection's database."""
    for (gid,) in await connection.fetch(_PREPARED_IN_THIS_DATABASE):
        await connection.execute(f"ROLLBACK PREPARED {quote_literal(gid)}")


def connect_and_roll_back_prepared(url: URL, *, timeout: float) -> None:
    """Roll back the prepared transactions of the database in ``url``.

    Raises what the driver raises.
    """

    async def run() -> None:
        connection = await connect(url, timeout=timeout, application="pytest-pgtemplate drop")
        try:
            await roll_back_prepared(connection)
        finally:
            await connection.close()

    portal.run(run(), timeout=timeout)
