import pytest
from sqlalchemy import text

OID = text("SELECT oid FROM pg_database WHERE datname = current_database()")
seen = []


@pytest.fixture
def oids(pg_sync_session, pg_orders_sync_session):
    seen.append([each.scalar(OID) for each in (pg_sync_session, pg_orders_sync_session)])
    return seen


def test_first(oids):
    pass


@pytest.mark.pg(isolation="clone")
def test_clone(pg_sync_session):
    pass


def test_one_is_another(oids):
    before, now = oids
    assert before[0] != now[0]
    assert before[1] == now[1]
