import pytest
from library import Author, create_app
from litestar.testing import AsyncTestClient

from pytest_pgtemplate import Metadata


@pytest.fixture(scope="session")
def pg_migrations():
    return Metadata(Author.metadata)


@pytest.fixture
async def client(pg_engine):
    async with AsyncTestClient(create_app(pg_engine)) as client:
        yield client
