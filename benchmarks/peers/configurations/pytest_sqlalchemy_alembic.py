"""pytest-sqlalchemy-alembic: each worker migrates its database. It does not isolate tests.

As its README says under "conftest.py".
"""

from collections.abc import Iterator

import pytest
from db import SessionLocal
from models import Base
from pytest_sqlalchemy_alembic.config import PluginConfig
from sqlalchemy.orm import Session


@pytest.fixture(scope="session")
def sqlalchemy_alembic_plugin_configs(pytestconfig: pytest.Config) -> list[PluginConfig]:
    return [
        PluginConfig.build(
            session_maker=SessionLocal,
            metadata=Base.metadata,
            create_db=pytestconfig.getoption("create_db"),
            no_migrations=pytestconfig.getoption("no_migrations"),
        )
    ]


@pytest.fixture
def session() -> Iterator[Session]:
    with SessionLocal() as session:
        yield session
