"""A realistic mix: of 20 tests, 12 write a few rows, 5 read, 2 write hundreds, 1 does nothing.

No test relies on an empty database, so that all of them pass without isolation, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from models import TABLE
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

TESTS = int(os.environ["BENCH_TESTS"])
HUNDREDS = 300


def write_a_few_rows(session: Session, number: int) -> None:
    child = TABLE[1 + number * 7 % (len(TABLE) - 1)]
    [parent] = [key.column.table for key in child.foreign_keys]
    values = insert(parent).values(name="parent").returning(parent.c.id)
    parent_id = session.scalar(values)
    rows = [{"name": f"child {n}", "parent_id": parent_id} for n in range(3)]
    session.execute(insert(child), rows)
    session.commit()
    session.execute(update(child).where(child.c.parent_id == parent_id).values(amount=7))
    session.commit()
    query = select(func.sum(child.c.amount)).where(child.c.parent_id == parent_id)
    assert session.scalar(query) == 21


def read(session: Session, number: int) -> None:
    for step in range(3):
        table = TABLE[(number * 7 + step) % len(TABLE)]
        rows = session.execute(select(table).order_by(table.c.id).limit(10)).all()
        assert len(rows) <= 10


def write_hundreds_of_rows(session: Session, number: int) -> None:
    table = TABLE[number * 7 % len(TABLE)]
    name = f"row of {number}"
    session.execute(insert(table), [{"name": name, "amount": n} for n in range(HUNDREDS)])
    session.commit()
    count = select(func.count()).select_from(table).where(table.c.name == name)
    assert session.scalar(count) == HUNDREDS


def do_nothing(_session: Session, _number: int) -> None:
    pass


MIX: list[Callable[[Session, int], None]] = [
    *([write_a_few_rows] * 3 + [read]) * 4,
    write_hundreds_of_rows,
    read,
    write_hundreds_of_rows,
    do_nothing,
]


@pytest.mark.parametrize("number", range(TESTS))
def test_something(number: int, session: Session) -> None:
    MIX[number % len(MIX)](session, number)
