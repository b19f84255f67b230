"""pytest-mock-resources: tables from the models in a template; each test gets a clone of it.

As its documentation says under "Config", "Preset DDL/Data" and "Template Databases". A server that
already listens at the configured port is used in place of a container. Functions are no static
actions, so the schema comes from the models: it does not run the migrations.
"""

import os

import pytest
from models import Base
from pytest_mock_resources import PostgresConfig, create_postgres_fixture
from sqlalchemy import make_url
from sqlalchemy.orm import Session

SERVER_URL = make_url(os.environ["DATABASE_URL"])


@pytest.fixture(scope="session")
def pmr_postgres_config() -> PostgresConfig:
    return PostgresConfig(
        host=SERVER_URL.host,
        port=SERVER_URL.port,
        ci_port=SERVER_URL.port,
        username=SERVER_URL.username,
        password=SERVER_URL.password,
        root_database="postgres",
        drivername="postgresql+psycopg",
    )


pg = create_postgres_fixture(Base, session=True)


@pytest.fixture
def session(pg: Session) -> Session:
    return pg
