"""Tests that write, and one that fails."""

import os

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

pytestmark = pytest.mark.usefixtures("exact")


@pytest.mark.parametrize("number", range(2))
def test_writes(pg_sync_session: Session, number: int) -> None:
    pg_sync_session.execute(text(f"INSERT INTO book (name) VALUES ('{number}')"))
    pg_sync_session.execute(text("DELETE FROM author"))
    pg_sync_session.commit()


def test_fails(pg_sync_session: Session) -> None:
    pg_sync_session.execute(text("UPDATE author SET name = 'wrong'"))
    pg_sync_session.commit()
    assert os.environ["FAULTS_FAIL"] == "0"


def test_comes_after_it(pg_sync_session: Session) -> None:
    pg_sync_session.execute(text("TRUNCATE author, book RESTART IDENTITY"))
    pg_sync_session.commit()
