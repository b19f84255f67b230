"""pgtestdbpy: a template per worker, dropped at the end; each test gets a clone of it.

As its README says. It leaves pytest-xdist to its user: role and template have the worker's name.
"""

import os
from collections.abc import Iterator

import pgtestdbpy
import pytest
from migrate import migrate
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

SERVER_URL = make_url(os.environ["DATABASE_URL"])
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
DRIVER = "postgresql+psycopg"

config = pgtestdbpy.Config(
    user=SERVER_URL.username,
    password=SERVER_URL.password,
    host=SERVER_URL.host,
    port=SERVER_URL.port,
)
migrator = pgtestdbpy.Migrator(
    lambda url: migrate(make_url(url.replace("postgres:", "postgresql:")).set(drivername=DRIVER)),
    db_name=f"migrator_{WORKER}",
    user=f"test_{WORKER}",
    host=SERVER_URL.host,
    port=SERVER_URL.port,
)


@pytest.fixture(scope="session")
def db() -> Iterator[None]:
    with pgtestdbpy.templates(config, migrator):
        yield


@pytest.fixture
def session(db: None) -> Iterator[Session]:  # noqa: ARG001
    with pgtestdbpy.clone(config, migrator) as url:
        engine = create_engine(
            make_url(url.replace("postgres:", "postgresql:")).set(drivername=DRIVER),
            poolclass=NullPool,
        )
        with Session(engine) as session:
            yield session
