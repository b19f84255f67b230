import pytest
from sqlalchemy import text


@pytest.mark.parametrize("n", range(3))
def test_database(n, pg_sync_session):
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('mine')"))
    pg_sync_session.commit()
    names = pg_sync_session.scalars(text("SELECT name FROM item ORDER BY id")).all()
    assert names == ["reference", "mine"]


def test_plain():
    pass
