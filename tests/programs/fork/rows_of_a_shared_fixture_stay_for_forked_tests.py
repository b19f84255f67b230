import pytest
from sqlalchemy import text


@pytest.fixture(scope="module")
def shared(pg_shared):
    with pg_shared.sync_sessionmaker.begin() as session:
        session.execute(text("INSERT INTO item (name) VALUES ('shared')"))


FORKED = [pytest.param(n, marks=pytest.mark.forked) for n in (1, 3)]


@pytest.mark.parametrize("n", [0, FORKED[0], 2, FORKED[1]])
def test_rows(n, shared, pg_sync_session):
    rows = pg_sync_session.scalars(text("SELECT name FROM item ORDER BY id")).all()
    assert rows == ["reference", "shared"]
    pg_sync_session.execute(text("DELETE FROM item"))
    pg_sync_session.commit()
