import asyncio

import asyncpg


async def query(dsn):
    connection = await asyncpg.connect(dsn)
    await connection.fetch("SELECT 1/0")


def test_it(pg_database):
    asyncio.run(query(str(pg_database.dsn)))
