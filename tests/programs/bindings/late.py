import app
import pytest


@pytest.fixture
def adds():
    return app.add_sync


@pytest.mark.parametrize("n", range(2))
@pytest.mark.parametrize("name", ["pg", "pg_sync_session", "pg_engine", "pg_session"])
def test_sync(request, adds, n, name):
    request.getfixturevalue(name)
    assert app.count_sync() == 0
    adds()
    request.getfixturevalue("pg_sync_engine")
    assert app.count_sync() == 1


async def test_async(request):
    request.getfixturevalue("pg")
    assert await app.count(app.Session) == 0
    await app.add(app.Session)


def test_restored(request):
    assert app.SyncSession.kw["bind"] is app.sync_engine
