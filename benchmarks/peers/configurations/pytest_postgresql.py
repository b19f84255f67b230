"""pytest-postgresql: ``load=`` migrates a template per worker; each test gets a clone of it.

As its README says under "Pre-populating the database for tests", "Connecting to an existing
PostgreSQL database" and "Using SQLAlchemy". ``postgresql_noproc`` in place of ``postgresql_proc``,
so that all sides use one server: what follows is the same, and starting a server for each worker is
not counted.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from migrate import migrate
from psycopg import Connection
from pytest_postgresql import factories
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

SERVER_URL = make_url(os.environ["DATABASE_URL"])


def load_database(
    *, host: str, port: int, user: str, dbname: str, password: str, **_: object
) -> None:
    migrate(URL.create("postgresql+psycopg", user, password, host, port, dbname))


postgresql_noproc = factories.postgresql_noproc(
    host=SERVER_URL.host,
    port=SERVER_URL.port,
    user=SERVER_URL.username,
    password=SERVER_URL.password,
    load=[load_database],
)
postgresql = factories.postgresql("postgresql_noproc")


@pytest.fixture
def session(postgresql: Connection[Any]) -> Iterator[Session]:
    engine = create_engine(SERVER_URL.set(database=postgresql.info.dbname), poolclass=NullPool)
    session_local = scoped_session(sessionmaker(bind=engine))
    yield session_local()
    session_local.close()
