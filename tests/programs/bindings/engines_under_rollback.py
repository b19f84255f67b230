import pytest
import app


@pytest.mark.parametrize("n", range(2))
async def test_async(n, pg_session):
    await pg_session.execute(app.ADD)
    await pg_session.commit()
    assert await app.count() == 0
    await app.add()
    assert await pg_session.scalar(app.COUNT) == 2


@pytest.mark.parametrize("n", range(2))
def test_sync(n, pg_sync_session):
    pg_sync_session.execute(app.ADD)
    pg_sync_session.commit()
    assert app.count_sync() == 0
    app.add_sync()
    assert pg_sync_session.scalar(app.COUNT) == 2
