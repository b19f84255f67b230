import pytest
from conftest import item
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

pytestmark = pytest.mark.pg(isolation="rollback")


async def names(session):
    return (await session.scalars(select(item.c.name).order_by(item.c.id))).all()


@pytest.mark.parametrize("n", range(2))
async def test_a_commit_holds_within_the_test_only(pg_session, n):
    assert await names(pg_session) == []
    await pg_session.execute(item.insert().values(name="a"))
    await pg_session.commit()
    await pg_session.execute(item.insert().values(name="b"))
    await pg_session.rollback()
    assert await names(pg_session) == ["a"]


async def test_savepoints_nest(pg_session):
    async with pg_session.begin_nested():
        await pg_session.execute(item.insert().values(name="a"))
    async with pg_session.begin_nested() as inner:
        await pg_session.execute(item.insert().values(name="b"))
        await inner.rollback()
    await pg_session.commit()
    assert await names(pg_session) == ["a"]


async def test_after_an_error_is_rolled_back_the_session_can_be_used(pg_session):
    await pg_session.execute(item.insert().values(name="a"))
    await pg_session.commit()
    with pytest.raises(IntegrityError):
        await pg_session.execute(item.insert().values(name="a"))
    await pg_session.rollback()
    assert await names(pg_session) == ["a"]


async def test_session_and_connection_share_the_transaction(pg_connection, pg_session):
    await pg_connection.execute(item.insert().values(name="a"))
    await pg_connection.commit()
    assert await names(pg_session) == ["a"]


async def test_others_see_nothing_of_it(pg_session, pg_sessionmaker):
    await pg_session.execute(item.insert().values(name="a"))
    await pg_session.commit()
    async with pg_sessionmaker() as other:
        assert await names(other) == []


async def test_a_real_commit_beside_it_is_taken_back_too(pg_session, pg_sessionmaker):
    async with pg_sessionmaker.begin() as other:
        await other.execute(item.insert().values(name="real"))
    assert await names(pg_session) == ["real"]
