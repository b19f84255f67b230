import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine


@pytest.fixture(scope="module")
def shared(pg_shared):
    with pg_shared.sync_sessionmaker.begin() as session:
        session.execute(text("INSERT INTO item (name) VALUES ('shared')"))


def test_sync(shared, pg_sync_session):
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES (:name)"), {"name": "mine"})
    pg_sync_session.commit()
    assert pg_sync_session.scalars(text("SELECT name FROM item")).all() == []


def test_engine_of_its_own(pg_url):
    engine = create_engine(pg_url.replace("asyncpg", "psycopg"))
    with engine.connect() as connection:
        connection.execute(text("SELECT * FROM nowhere"))


def test_many(pg_sync_session):
    for number in range(103):
        pg_sync_session.execute(text(f"SELECT {number}"))
    assert False


def test_passes(pg_sync_session):
    pg_sync_session.execute(text("SELECT 'nobody looks at this'"))


def test_plain():
    assert False
