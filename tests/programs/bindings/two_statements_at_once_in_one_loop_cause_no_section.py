import asyncio

import asyncpg


async def test_it(pg_database):
    connection = await asyncpg.connect(str(pg_database.dsn))
    try:
        await asyncio.gather(*(connection.fetch("SELECT pg_sleep(0.1)") for _ in range(2)))
    finally:
        await connection.close()
