"""FastAPI and SQLModel, without asyncio: a session per request."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy.orm import sessionmaker
from sqlmodel import Field, Session, SQLModel, create_engine, select

SessionLocal = sessionmaker(class_=Session)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    SessionLocal.configure(bind=create_engine(os.environ["DATABASE_URL"]))
    yield


app = FastAPI(lifespan=lifespan)


class Team(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str


class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    team_id: int | None = Field(default=None, foreign_key="team.id")


def get_session() -> Iterator[Session]:
    with SessionLocal() as session:
        yield session


SessionOfRequest = Annotated[Session, Depends(get_session)]


@app.post("/heroes")
def add(hero: Hero, session: SessionOfRequest) -> Hero:
    session.add(hero)
    session.commit()
    session.refresh(hero)
    return hero


@app.get("/teams/{team_id}/heroes")
def members(team_id: int, session: SessionOfRequest) -> list[str]:
    return list(session.exec(select(Hero.name).where(Hero.team_id == team_id)))
