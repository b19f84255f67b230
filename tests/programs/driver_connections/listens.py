import pytest
from conftest import Product, event, select, text


@pytest.fixture
def statements(pg_engine, pg_sync_engine):
    heard = []
    for engine in (pg_engine.sync_engine, pg_sync_engine):
        event.listen(engine, "before_cursor_execute", lambda *a: heard.append(a[2]))
        event.listen(engine, "connect", lambda dbapi, _: heard.append("connect"))
    return heard


@pytest.mark.parametrize("n", range(2))
async def test_async(n, pg_session, statements):
    await pg_session.execute(text("SELECT 1"))
    assert statements == ["connect", "SELECT 1"]


@pytest.mark.parametrize("n", range(2))
async def test_connection(n, statements, pg_connection):
    await pg_connection.execute(text("SELECT 1"))
    assert statements == ["connect", "SELECT 1"]


@pytest.mark.parametrize("n", range(2))
def test_sync(n, statements, pg_sync_session):
    pg_sync_session.execute(text("SELECT 1"))
    assert statements == ["connect", "SELECT 1"]


async def test_without_a_listener(pg_session):
    await pg_session.execute(text("SELECT 1"))
