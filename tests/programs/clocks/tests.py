import asyncio
import psycopg
import pytest
from sqlalchemy import text

INSERT = "INSERT INTO product (name) VALUES ('mine')"


def names(database):
    with psycopg.connect(database.dsn) as connection:
        return connection.execute("SELECT name FROM product").fetchall()


def test_leaks(pg):
    global leaked
    leaked = psycopg.connect(pg.dsn)
    leaked.execute(INSERT)


def test_prepared(pg):
    assert names(pg) == []
    other = psycopg.connect(pg.dsn)
    other.execute(INSERT)
    other.execute("LOCK TABLE product")
    global another
    another = other


async def test_async(pg, pg_session, pg_engine):
    assert names(pg) == []
    await pg_session.execute(text(INSERT))
    await pg_session.commit()
    await pg_session.execute(text("SELECT 1"))


async def test_still_asking(pg, pg_engine):
    assert names(pg) == []

    async def ask():
        async with pg_engine.connect() as connection:
            await connection.execute(text("SELECT pg_sleep(3600)"))

    global task
    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    async with pg_engine.connect() as connection:
        while not (
            await connection.execute(
                text("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3600)'")
            )
        ).all():
            await connection.rollback()


def test_after(pg):
    assert names(pg) == []
