import os
import pytest
from sqlalchemy import text

ME = f"{os.environ['PGTEMPLATE_CHAOS_RUN']} {os.environ.get('PYTEST_XDIST_WORKER')}"

CLONE = pytest.mark.pg(isolation="clone")
TESTS = int(os.environ["CHAOS_TESTS"])
NUMBERS = [pytest.param(n, marks=CLONE) if n % 8 == 5 else n for n in range(TESTS)]


@pytest.mark.parametrize("n", NUMBERS)
def test_alone(n, pg_sync_session):
    names = pg_sync_session.scalars(text("SELECT name FROM item")).all()
    assert names == ["reference"]
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES (:me)"), {"me": ME})
    pg_sync_session.commit()
    pg_sync_session.execute(text("SELECT pg_sleep(0.05)"))
    names = pg_sync_session.scalars(text("SELECT name FROM item ORDER BY id")).all()
    assert names == ["reference", ME]
    if n % 3 == 0:
        pg_sync_session.execute(text("DELETE FROM item"))
        pg_sync_session.commit()
