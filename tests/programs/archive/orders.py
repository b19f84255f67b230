import pytest
from pytest_pgtemplate import SqlFiles
from sqlalchemy import text


@pytest.fixture(scope="session")
def pg_orders_migrations(pytestconfig):
    return SqlFiles(pytestconfig.rootpath / "orders.sql")


def test_bill(pg_orders_sync_session):
    assert pg_orders_sync_session.scalars(text("SELECT euros FROM bill")).all() == [9]
