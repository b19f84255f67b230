import pytest
import app


@pytest.mark.parametrize("n", range(2))
@pytest.mark.asyncio(loop_scope="module")
async def test_module(n, pg):
    assert await app.count() == 0
    await app.add()


async def test_function(pg):
    assert await app.count() == 0
    await app.add()


@pytest.mark.asyncio(loop_scope="module")
async def test_module_again(pg):
    assert await app.count() == 0
