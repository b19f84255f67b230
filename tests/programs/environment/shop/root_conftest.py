import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete
from sqlalchemy.orm import Session

from shop.db import add_user, engine
from shop.main import app
from shop.models import Item, User


@pytest.fixture(scope="session", autouse=True)
def db():
    with Session(engine) as session:
        add_user(session, "root")
        yield session
        session.execute(delete(Item))
        session.execute(delete(User))
        session.commit()


@pytest.fixture(scope="module")
def client():
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="module")
def superuser(client):
    return client.post("/login/root").json()


@pytest.fixture(scope="module")
def somebody(client, db):
    add_user(db, "somebody")
    return client.post("/login/somebody").json()
