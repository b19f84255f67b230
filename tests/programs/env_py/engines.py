import asyncio
from sqlalchemy.ext.asyncio import create_async_engine


async def main(url, function):
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.run_sync(function)
    await engine.dispose()


def run(url, function):
    asyncio.run(main(url, function))
