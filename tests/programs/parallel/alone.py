import os
import pytest
from sqlalchemy import text

ME = os.environ["PYTEST_XDIST_WORKER"]


@pytest.mark.parametrize("n", range(60))
def test_alone(n, pg_sync_session):
    assert pg_sync_session.scalar(text("SELECT current_database()")).endswith(f"_{ME}")
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES (:me)"), {"me": ME})
    pg_sync_session.commit()
    pg_sync_session.execute(text("SELECT pg_sleep(0.01)"))
    names = pg_sync_session.scalars(text("SELECT name FROM item ORDER BY id")).all()
    assert names == ["reference", ME]
