import pytest
from sqlalchemy import text


def names(session):
    return session.scalars(text("SELECT name FROM item ORDER BY id")).all()


def add(session, name):
    session.execute(text("INSERT INTO item (name) VALUES (:name)"), {"name": name})
    session.commit()


@pytest.mark.pg(scope="class")
class TestTogether:
    def test_one(self, pg_sync_session):
        add(pg_sync_session, "one")

    def test_two(self, pg_sync_session):
        assert names(pg_sync_session) == ["reference", "one"]


@pytest.mark.pg(isolation="none")
def test_left_as_it_is(pg_sync_session):
    assert names(pg_sync_session) == ["reference"]
    add(pg_sync_session, "left")


@pytest.mark.pg(isolation="clone")
def test_cloned(pg_sync_session):
    assert names(pg_sync_session) == ["reference", "left"]
    pg_sync_session.execute(text("DROP TABLE item"))
    pg_sync_session.commit()


def test_clean(pg_sync_session):
    assert names(pg_sync_session) == ["reference"]
