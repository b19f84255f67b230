import pytest
from sqlalchemy import event, text

calls = []


@pytest.mark.parametrize("listens", [False, True, False])
def test_it(listens, pg_sync_sessionmaker, pg_sync_session):
    if listens:
        event.listen(pg_sync_sessionmaker, "after_begin", lambda *_: calls.append(1))
    pg_sync_session.execute(text("SELECT 1"))
    with pg_sync_sessionmaker() as another:
        another.execute(text("SELECT 1"))


def test_calls():
    assert len(calls) == 2
