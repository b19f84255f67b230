import pytest
from sqlalchemy import create_engine, text


def seed(url):
    engine = create_engine(url.replace("+asyncpg", "+psycopg"))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO item (name) VALUES ('seeded')"))
    engine.dispose()


@pytest.fixture(scope="session")
def pg_seed():
    return seed
