import pytest
from sqlalchemy import text


@pytest.mark.parametrize("n", range(2))
async def test_async(n, pg_session):
    await pg_session.execute(text("INSERT INTO item (name) VALUES ('mine')"))
    await pg_session.commit()
    assert await pg_session.scalar(text("SELECT count(*) FROM item")) == 2


def test_changes_the_schema(pg_sync_session):
    pg_sync_session.execute(text("CREATE TABLE other (id int)"))
    pg_sync_session.commit()


def test_leaks(pg_url):
    import psycopg

    test_leaks.connection = psycopg.connect(pg_url.replace("+asyncpg", ""))
    test_leaks.connection.execute("INSERT INTO item (name) VALUES ('left open')")


def test_last(pg_sync_session):
    assert pg_sync_session.scalars(text("SELECT name FROM item")).all() == ["reference"]
    assert pg_sync_session.scalar(text("SELECT to_regclass('other')")) is None
