import pytest
from sqlalchemy import text


@pytest.fixture(scope="module")
def shared(pg_shared):
    with pg_shared.sync_sessionmaker.begin() as session:
        session.execute(text("INSERT INTO item (name) VALUES ('shared')"))


@pytest.mark.parametrize("n", range(6))
def test_writes(n, shared, pg_sync_session):
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('mine')"))
    pg_sync_session.commit()


@pytest.mark.parametrize("n", range(2))
def test_ddl(n, pg_sync_session):
    pg_sync_session.execute(text("CREATE TABLE more ()"))
    pg_sync_session.commit()


@pytest.mark.pg(isolation="clone")
def test_clone(pg):
    pass


def test_plain():
    pass
