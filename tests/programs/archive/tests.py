import pytest
from sqlalchemy import text


@pytest.fixture(autouse=True)
def unused():
    pytest.fail("the test was set up")


def test_plain():
    pass


def test_names(pg_sync_session):
    names = pg_sync_session.scalars(text("SELECT name FROM item ORDER BY id")).all()
    assert names == ["reference", "seeded"]
