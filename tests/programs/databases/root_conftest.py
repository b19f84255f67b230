import pytest
from pytest_pgtemplate import SqlFiles


@pytest.fixture(scope="session")
def pg_migrations(pytestconfig):
    return SqlFiles(pytestconfig.rootpath / "main.sql")


@pytest.fixture(scope="session")
def pg_orders_migrations(pytestconfig):
    return SqlFiles(pytestconfig.rootpath / "orders.sql")
