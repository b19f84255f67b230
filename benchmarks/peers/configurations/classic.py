"""The classic conftest.py: a migrated database per worker, emptied after each test.

One TRUNCATE names all tables.
"""

import os
from collections.abc import Iterator

import pytest
from migrate import migrate
from models import Base
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
    with Session(engine) as session:
        yield session
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {tables} CASCADE"))
