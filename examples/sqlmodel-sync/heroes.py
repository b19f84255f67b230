"""FastAPI and SQLModel, without asyncio: a session per request."""

import os
from collections.abc import Iterator
from functools import cache
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import Engine
from sqlmodel import Field, Session, SQLModel, create_engine, select

app = FastAPI()


class Team(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str


class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    team_id: int | None = Field(default=None, foreign_key="team.id")


@cache
def engine() -> Engine:
    return create_engine(os.environ["DATABASE_URL"])


def get_session() -> Iterator[Session]:
    with Session(engine()) as session:
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
