import pytest
from sqlalchemy import text


@pytest.mark.parametrize("n", range(4))
def test_rows(n, pg_sync_session):
    names = pg_sync_session.scalars(text("SELECT name FROM item ORDER BY id")).all()
    assert names == ["reference", "seeded"]
    pg_sync_session.execute(text("DELETE FROM item"))
    pg_sync_session.commit()
