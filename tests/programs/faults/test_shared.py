"""Tests that share a row, change the schema and leave a transaction open."""

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

pytestmark = pytest.mark.usefixtures("shared_book", "exact")
left_open: list[Connection] = []


def test_writes(pg_sync_session: Session) -> None:
    pg_sync_session.execute(text("DELETE FROM book"))
    pg_sync_session.commit()


def test_leaves_a_transaction_open(pg_sync_engine: Engine) -> None:
    left_open.append(pg_sync_engine.connect())
    left_open[0].execute(text("INSERT INTO book (name) VALUES ('left open')"))


def test_comes_after_it(pg_sync_session: Session) -> None:
    pg_sync_session.execute(text("INSERT INTO author (name) VALUES ('Zuse')"))
    pg_sync_session.commit()


def test_changes_the_schema(pg_sync_session: Session) -> None:
    pg_sync_session.execute(text("CREATE TABLE added (name text)"))
    pg_sync_session.execute(text("DROP TABLE book"))
    pg_sync_session.commit()


def test_comes_after_that(pg_sync_session: Session) -> None:
    pg_sync_session.execute(text("UPDATE book SET name = 'changed'"))
    pg_sync_session.commit()
