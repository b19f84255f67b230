import os
import pytest
from sqlalchemy import text


def insert(session, name):
    names = session.scalars(text("SELECT name FROM item ORDER BY id")).all()
    session.execute(text("INSERT INTO item (name) VALUES (:name)"), {"name": name})
    session.commit()
    return names


def test_first(pg_sync_session):
    assert insert(pg_sync_session, "first") == ["reference"]


@pytest.mark.forked
@pytest.mark.parametrize("n", range(2))
def test_forked(n, pg_sync_session):
    assert insert(pg_sync_session, "forked") == ["reference"]


@pytest.mark.forked
async def test_forked_async(pg_session):
    assert (await pg_session.scalars(text("SELECT name FROM item"))).all() == ["reference"]
    await pg_session.execute(text("DELETE FROM item"))
    await pg_session.commit()


@pytest.mark.forked
def test_dies(pg_sync_session):
    insert(pg_sync_session, "of the dead")
    os.kill(os.getpid(), 9)


def test_between(pg_sync_session):
    assert insert(pg_sync_session, "between") == ["reference"]


@pytest.mark.forked
def test_changes_the_schema(pg_sync_session):
    pg_sync_session.execute(text("ALTER TABLE item ADD COLUMN more int"))
    pg_sync_session.commit()


def test_last(pg_sync_session):
    assert pg_sync_session.execute(text("SELECT * FROM item")).all() == [(1, "reference")]
