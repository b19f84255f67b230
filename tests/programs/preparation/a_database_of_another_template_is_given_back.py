import pytest
from pytest_pgtemplate import SqlFiles
from sqlalchemy import text


@pytest.fixture(scope="session")
def pg_migrations():
    return SqlFiles("other.sql")


def test_other(pg_sync_session):
    assert pg_sync_session.scalars(text("SELECT * FROM other")).all() == []
