import pytest
from pytest_pgtemplate import Alembic


@pytest.fixture(scope="session")
def pg_migrations(pytestconfig):
    return Alembic(
        pytestconfig.rootpath / "alembic.ini",
        attributes={
            "dsn": "x://{host}/{name}",
            "name": "{name}",
            "tenants": [1, None],
            "braces": "{{}}",
        },
    )
