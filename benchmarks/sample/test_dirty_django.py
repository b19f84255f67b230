"""The same as test_dirty.py, through Django."""

from __future__ import annotations

import os

import pytest
from django.db import connection, transaction
from models import TABLE

TESTS, DIRTY, ROWS = (int(os.environ[f"BENCH_{name}"]) for name in ("TESTS", "DIRTY", "ROWS"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_number", range(TESTS))
def test_dirty(_number: int) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for table in TABLE[:DIRTY]:
            rows = f"SELECT 'some text', 0 FROM generate_series(1, {ROWS})"
            cursor.execute(f"INSERT INTO {table.name} (name, amount) {rows}")
