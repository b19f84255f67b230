"""The sample project's tables: as many as BENCH_TABLES says, with foreign keys and sequences."""

from __future__ import annotations

import os

from sqlalchemy import Column, ForeignKey, Integer, Table, Text
from sqlalchemy.orm import DeclarativeBase

TABLES = int(os.environ.get("BENCH_TABLES", "100"))


class Base(DeclarativeBase):
    """What the alternatives read the schema from."""


def _table(number: int) -> Table:
    parent = f"item_{(number - 1) // 2:04}.id"
    return Table(
        f"item_{number:04}",
        Base.metadata,
        Column("id", Integer, primary_key=True),
        Column("name", Text, nullable=False, index=True),
        Column("amount", Integer, nullable=False, server_default="0"),
        *([Column("parent_id", ForeignKey(parent), index=True)] if number else []),
    )


TABLE = [_table(number) for number in range(TABLES)]
