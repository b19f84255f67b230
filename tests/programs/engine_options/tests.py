import pytest
from conftest import OurSession, item
from sqlalchemy import orm, select

TAGS = item.insert().values(tags={"b", "a"})  # a set, which plain JSON does not know
SORTED = select(item.c.tags)


@pytest.fixture(scope="module")
async def shared(pg_shared):
    async with pg_shared.sessionmaker.begin() as session:
        assert type(session) is OurSession
        await session.execute(TAGS)
    with pg_shared.sync_sessionmaker.begin() as session:
        assert not session.autoflush
        session.execute(TAGS)


@pytest.mark.parametrize("n", [0, pytest.param(1, marks=pytest.mark.pg(isolation="rollback"))])
async def test_async(n, shared, pg_session, pg_connection):
    assert isinstance(pg_session, OurSession)
    assert not pg_session.sync_session.autoflush
    assert pg_session.sync_session.expire_on_commit
    await pg_session.execute(TAGS)
    await pg_session.commit()
    await pg_connection.execute(TAGS)
    assert (await pg_connection.scalars(SORTED)).all() == [["a", "b"]] * 4


@pytest.mark.parametrize("n", [0, pytest.param(1, marks=pytest.mark.pg(isolation="rollback"))])
def test_sync(n, pg_sync_session):
    assert isinstance(pg_sync_session, orm.Session)
    assert not pg_sync_session.autoflush
    pg_sync_session.execute(TAGS)
    assert pg_sync_session.scalars(SORTED).first() == ["a", "b"]
