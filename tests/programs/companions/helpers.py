import pytest
from sqlalchemy import text


def add(session, name="mine"):
    session.execute(text("INSERT INTO item (name) VALUES (:name)"), {"name": name})
    session.commit()


def rows(session):
    found = session.execute(text("SELECT id, name FROM item ORDER BY id"))
    return [(id, name) for id, name in found]
