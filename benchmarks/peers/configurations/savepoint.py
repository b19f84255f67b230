"""The classic conftest.py with the recipe "Joining a Session into an External Transaction".

The recipe is that of SQLAlchemy's documentation (orm/session_transaction.html): one connection and
one outer transaction per test, savepoints in it, rolled back after the test.
"""

import os
from collections.abc import Iterator

import pytest
from migrate import migrate
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.orm import Session

SERVER_URL = make_url(os.environ["DATABASE_URL"])


@pytest.fixture(scope="session")
def engine(worker_id: str) -> Iterator[Engine]:
    server = create_engine(SERVER_URL, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS test_{worker_id}"))
        connection.execute(text(f"CREATE DATABASE test_{worker_id}"))
    url = SERVER_URL.set(database=f"test_{worker_id}")
    migrate(url)
    engine = create_engine(url)
    yield engine
    engine.dispose()
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE test_{worker_id}"))
    server.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with engine.connect() as connection:
        transaction = connection.begin()
        with Session(bind=connection, join_transaction_mode="create_savepoint") as session:
            yield session
        transaction.rollback()
