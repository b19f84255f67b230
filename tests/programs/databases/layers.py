import pytest
from sqlalchemy import text


@pytest.fixture(scope="module")
def bills(pg_orders_shared):
    with pg_orders_shared.sync_sessionmaker.begin() as session:
        session.execute(text("INSERT INTO bill VALUES ('shared')"))


@pytest.mark.parametrize("n", range(2))
def test_shared(n, bills, pg_orders_sync_session, pg_sync_session):
    names = pg_orders_sync_session.scalars(text("DELETE FROM bill RETURNING name")).all()
    pg_orders_sync_session.commit()
    assert names == ["shared"]
    pg_sync_session.execute(text("INSERT INTO item VALUES ('mine')"))
    pg_sync_session.commit()
    assert len(pg_sync_session.scalars(text("SELECT name FROM item")).all()) == 2
