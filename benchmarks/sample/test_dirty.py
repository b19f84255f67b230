"""Each test commits BENCH_ROWS rows into each of BENCH_DIRTY tables."""

from __future__ import annotations

import os

import pytest
from models import TABLE
from sqlalchemy import text
from sqlalchemy.orm import Session

TESTS, DIRTY, ROWS = (int(os.environ[f"BENCH_{name}"]) for name in ("TESTS", "DIRTY", "ROWS"))


@pytest.mark.parametrize("_number", range(TESTS))
def test_dirty(_number: int, session: Session) -> None:
    for table in TABLE[:DIRTY]:
        rows = f"SELECT 'some text' FROM generate_series(1, {ROWS})"
        session.execute(text(f"INSERT INTO {table.name} (name) {rows}"))
    session.commit()
