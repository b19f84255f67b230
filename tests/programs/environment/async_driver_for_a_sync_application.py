import asyncio

import app
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    name: Mapped[str] = mapped_column(primary_key=True)


def test_sync_engine(pg):
    create_engine(app.URL).connect()


def test_lazy_load(pg):
    asyncio.run(load_after_commit())


async def load_after_commit():
    engine = create_async_engine(app.URL)
    async with AsyncSession(engine) as session:
        item = Item(name="chess")
        session.add(item)
        await session.commit()
        await engine.dispose()  # the lazy load has to open a connection
        print(item.name)
