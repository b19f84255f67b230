import asyncio
from sqlalchemy import text


async def read(engine):
    async with engine.connect() as connection:
        return (await connection.execute(text("SELECT name FROM item"))).scalars().all()


def test_rows(pg_sync_session, pg_engine):
    assert pg_sync_session.scalars(text("SELECT name FROM item")).all() == ["reference"]
    assert asyncio.run(read(pg_engine)) == ["reference"]
