import pytest
from pytest_pgtemplate import SqlFiles
from sqlalchemy import text


@pytest.fixture(scope="session")
def pg_orders_migrations(pytestconfig):
    return SqlFiles(pytestconfig.rootpath / "orders.sql")


def search_path(session):
    return session.scalars(text("SHOW search_path")).one()


def test_it(pg_sync_session, pg_orders_sync_session):
    assert search_path(pg_sync_session) == '"$user", public'
    assert search_path(pg_orders_sync_session) == "app"
