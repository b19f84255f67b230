import asyncio
import pytest
from conftest import item
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

pytestmark = pytest.mark.pg(isolation="rollback")
COUNT = text("SELECT count(*) FROM item")


async def test_another_isolation_level(pg_session):
    await pg_session.execute(item.insert().values(name="a"))
    await pg_session.commit()
    with pytest.raises(Exception, match="one isolation level"):
        await pg_session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
    assert await pg_session.scalar(COUNT) == 1


async def test_autocommit(pg_session):
    with pytest.raises(Exception, match="AUTOCOMMIT has none"):
        await pg_session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})


async def test_a_commit_of_a_failed_transaction(pg_session):
    await pg_session.execute(item.insert().values(name="a"))
    await pg_session.commit()
    with pytest.raises(DBAPIError):
        await pg_session.execute(text("SELECT 1 / 0"))
    await pg_session.commit()
    assert await pg_session.scalar(COUNT) == 1


def test_a_loop_that_closes(pg_sessionmaker, pg_connection):
    async def add():
        async with pg_sessionmaker(bind=pg_connection) as session:
            await session.execute(item.insert().values(name="a"))
            await session.commit()

    async def count():
        async with pg_sessionmaker(bind=pg_connection) as session:
            return await session.scalar(COUNT)

    asyncio.run(add())
    with pytest.raises(Exception, match="closed"):
        asyncio.run(count())
