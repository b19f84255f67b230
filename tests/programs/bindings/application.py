import os

from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import scoped_session, sessionmaker

URL = os.environ.get("DATABASE_URL", "postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
SYNC_URL = os.environ.get("SYNC_URL", "postgresql+psycopg://nobody@127.0.0.1:1/nothing")

engine = create_async_engine(URL)
Session = async_sessionmaker(engine, expire_on_commit=False)
Legacy = sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
Unbound = async_sessionmaker()
scopes = []
Scoped = async_scoped_session(async_sessionmaker(engine), scopefunc=lambda: "always the same")

sync_engine = create_engine(SYNC_URL)
SyncSession = sessionmaker(sync_engine)
SyncScoped = scoped_session(sessionmaker(sync_engine))

COUNT = text("SELECT count(*) FROM item")
ADD = text("INSERT INTO item (name) VALUES ('mine')")


async def add(make=Session):
    async with make() as session:
        await session.execute(ADD)
        await session.commit()


async def count(make=Session):
    async with make() as session:
        return await session.scalar(COUNT)


def add_sync(make=SyncSession):
    with make() as session:
        session.execute(ADD)
        session.commit()


def count_sync(make=SyncSession):
    with make() as session:
        return session.scalar(COUNT)
