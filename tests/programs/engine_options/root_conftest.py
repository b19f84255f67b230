import json
import pytest
from sqlalchemy import JSON, Column, Integer, MetaData, Table
from sqlalchemy.ext.asyncio import AsyncSession

from pytest_pgtemplate import Metadata

metadata = MetaData()
item = Table("item", metadata, Column("id", Integer, primary_key=True), Column("tags", JSON))


class OurSession(AsyncSession):
    pass


def dumps(value):
    return json.dumps(sorted(value))


@pytest.fixture(scope="session")
def pg_migrations():
    return Metadata(metadata)


@pytest.fixture(scope="session")
def pg_engine_options():
    return {"json_serializer": dumps}


@pytest.fixture(scope="session")
def pg_session_options():
    return {"class_": OurSession, "autoflush": False, "expire_on_commit": True}
