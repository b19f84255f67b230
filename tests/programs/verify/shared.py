import pytest
from sqlalchemy import text


@pytest.fixture(scope="module")
def shared(pg_shared):
    with pg_shared.sync_engine.begin() as connection:
        connection.execute(text("INSERT INTO item VALUES (10, 'module')"))
        connection.execute(text("UPDATE item SET name = 'changed' WHERE id = 1"))
    yield
    with pg_shared.sync_engine.begin() as connection:
        connection.execute(text("DELETE FROM item WHERE id = 10"))


def names(session):
    return session.scalars(text("SELECT name FROM item ORDER BY id")).all()


@pytest.mark.parametrize("n", range(2))
def test_one(n, shared, pg_sync_session):
    assert names(pg_sync_session) == ["changed", "module"]
    pg_sync_session.execute(text("DELETE FROM item"))
    pg_sync_session.commit()


@pytest.mark.parametrize("kind", ["truncate", "rollback", "clone", "none"])
def test_both(kind, shared, everywhere, pg_sync_session):
    assert names(pg_sync_session) == ["changed", "module", "session"]


@pytest.mark.pg(isolation="clone")
@pytest.mark.parametrize("n", range(2))
def test_cloned(n, shared, everywhere, pg_sync_session):
    assert names(pg_sync_session) == ["changed", "module", "session"]
    pg_sync_session.execute(text("DROP TABLE item"))
    pg_sync_session.commit()


@pytest.mark.pg(isolation="rollback")
def test_rolled_back(shared, everywhere, pg_sync_session):
    pg_sync_session.execute(text("DELETE FROM item"))
    pg_sync_session.commit()
