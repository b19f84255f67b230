from files import ask
from sqlalchemy import text


def insert(session):
    assert session.scalars(text("SELECT name FROM item")).all() == ["reference"]
    session.execute(text("INSERT INTO item (name) VALUES ('mine')"))
    session.commit()


def test_before(pg_sync_session):
    insert(pg_sync_session)


def test_restart(pg_sync_session):
    insert(pg_sync_session)
    ask("restart")


def test_between(pg_sync_session):
    insert(pg_sync_session)


def test_stop(pg_sync_session):
    insert(pg_sync_session)
    ask("stop")


def test_without(pg_sync_session):
    insert(pg_sync_session)


def test_without_as_well(pg_sync_session):
    insert(pg_sync_session)


def test_plain():
    ask("start")


def test_after(pg_sync_session):
    insert(pg_sync_session)
