import pytest
import app

left = []


@pytest.mark.parametrize("n", range(2))
async def test_it(n, pg):
    left.append(app.Session())
    await left[-1].execute(app.ADD)
    assert await left[-1].scalar(app.COUNT) == 1


@pytest.mark.parametrize("n", range(2))
def test_sync(n, pg):
    app.SyncScoped.execute(app.ADD)
    assert app.SyncScoped.scalar(app.COUNT) == 1
