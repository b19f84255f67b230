"""Litestar with advanced-alchemy: its plugin opens a session per request and commits."""

from advanced_alchemy.base import BigIntAuditBase
from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from litestar import Litestar, get, post
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Mapped, mapped_column


class Author(BigIntAuditBase):
    name: Mapped[str] = mapped_column(unique=True)


class Authors(SQLAlchemyAsyncRepository[Author]):
    model_type = Author


@post("/authors/{name:str}")
async def add(name: str, db_session: AsyncSession) -> int:
    author = await Authors(session=db_session).add(Author(name=name))
    return author.id


@get("/authors")
async def names(db_session: AsyncSession) -> list[str]:
    authors = await Authors(session=db_session).list(order_by=("id", False))
    return [author.name for author in authors]


def create_app(engine: AsyncEngine) -> Litestar:
    config = SQLAlchemyAsyncConfig(engine_instance=engine, before_send_handler="autocommit")
    return Litestar([add, names], plugins=[SQLAlchemyPlugin(config)])
