"""Recognise transactions that a test left open and that committed during a later one."""

from __future__ import annotations

import json
from collections.abc import Collection

from pytest_pgtemplate._reset.blocker_watch import Leak
from pytest_pgtemplate._server import Connection

_COMMITTED = """
    SELECT x FROM unnest($1::text[]) AS x
     WHERE pg_xact_status(x::xid8) = 'committed'
       AND ($2 OR EXISTS (SELECT FROM unnest($3::oid[]) AS written
                           WHERE NOT has_table_privilege(written, 'UPDATE, DELETE, TRUNCATE')))"""


class LateCommits:
    """The transactions of a database that were open at the end of its last reset.

    A reset waits for those that have written to a table, unless the role may only read it. Others
    may have executed DDL or written large objects. If one of them commits and the next reset finds
    such a change, it is a leak.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: dict[str, Leak] = {}

    def record(self, still_open: str | None) -> None:
        """Remember the open transactions: open_transactions.sql, as JSON."""
        found = json.loads(still_open or "{}")
        self._open = {xid: Leak(**fields, late=True) for xid, fields in found.items()}

    async def find(self, written: Collection[int] = (), *, changed: bool) -> tuple[Leak, ...]:
        """Return those that have committed since, if anything without a lock has changed.

        ``changed``: the schema or a large object. Of the tables ``written``, the reset has locked
        those that its role may write to.
        """
        if not self._open:
            return ()
        rows = await self._connection.fetch(_COMMITTED, list(self._open), changed, list(written))
        return tuple(self._open[xid] for (xid,) in rows)
