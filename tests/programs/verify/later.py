from sqlalchemy import text


def test_later(everywhere, pg_sync_session):
    names = pg_sync_session.scalars(text("SELECT name FROM item ORDER BY id")).all()
    assert names == ["old", "session"]


def test_with_ddl(pg_sync_session):
    pg_sync_session.execute(text("ALTER TABLE item ADD more text"))
    pg_sync_session.commit()


def test_last(pg_sync_session):
    assert len(pg_sync_session.execute(text("SELECT * FROM item")).keys()) == 2
