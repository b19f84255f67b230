import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, select

from pytest_pgtemplate import Metadata

metadata = MetaData()
item = Table(
    "item", metadata, Column("id", Integer, primary_key=True), Column("name", String, unique=True)
)


@pytest.fixture(scope="session")
def pg_migrations():
    return Metadata(metadata)
