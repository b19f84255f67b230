import pytest
import app


@pytest.mark.parametrize("n", range(2))
@pytest.mark.parametrize("name", ["Session", "Scoped"])
async def test_async(n, name, pg_session):
    make = getattr(app, name)
    await pg_session.execute(app.ADD)
    await pg_session.flush()
    assert await app.count(make) == 1
    await app.add(make)
    assert await pg_session.scalar(app.COUNT) == 2


@pytest.mark.parametrize("n", range(2))
@pytest.mark.parametrize("name", ["SyncSession", "SyncScoped"])
def test_sync(n, name, pg_sync_session):
    make = getattr(app, name)
    pg_sync_session.execute(app.ADD)
    pg_sync_session.flush()
    assert app.count_sync(make) == 1
    app.add_sync(make)
    assert pg_sync_session.scalar(app.COUNT) == 2
