import os
from sqlalchemy import text


def test_first(pg_sync_session):
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('mine')"))
    pg_sync_session.commit()


def test_crashes(pg_sync_session):
    os._exit(1)


def test_last(pg_sync_session):
    pass
