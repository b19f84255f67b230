from fastapi import FastAPI, HTTPException
from sqlalchemy import select
from sqlalchemy.orm import Session
from shop.db import engine
from shop.models import Item, User

app = FastAPI()


@app.post("/login/{name}")
def login(name: str) -> int:
    with Session(engine) as session:
        user = session.scalar(select(User.id).where(User.name == name))
        if user is None:
            raise HTTPException(401)
        return user


@app.post("/items/{owner}")
def add_item(owner: int) -> int:
    with Session(engine) as session:
        item = Item(owner=owner)
        session.add(item)
        session.commit()
        return item.id
