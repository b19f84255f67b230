import pytest
from conftest import item
from sqlalchemy import select

pytestmark = pytest.mark.pg(isolation="rollback")


@pytest.mark.parametrize("n", range(2))
def test_a_commit_holds_within_the_test_only(pg_sync_session, pg_sync_sessionmaker, n):
    pg_sync_session.execute(item.insert().values(name="a"))
    pg_sync_session.commit()
    with pg_sync_session.begin_nested():
        pg_sync_session.execute(item.insert().values(name="b"))
    pg_sync_session.rollback()
    assert pg_sync_session.scalars(select(item.c.name)).all() == ["a"]
    with pg_sync_sessionmaker() as other:
        assert other.scalars(select(item.c.name)).all() == []
