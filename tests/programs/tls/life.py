import asyncio
import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

TLS_STATE = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


def test_sync(pg_sync_session):
    assert pg_sync_session.scalar(text(TLS_STATE))


def test_application(pg_url):
    async def ask():
        engine = create_async_engine(pg_url)
        async with engine.connect() as connection:
            assert await connection.scalar(text(TLS_STATE))
            assert await connection.scalar(text("SELECT name FROM item")) == "reference"
        await engine.dispose()

    asyncio.run(ask())
