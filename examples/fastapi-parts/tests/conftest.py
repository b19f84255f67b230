import pytest
from httpx import ASGITransport, AsyncClient
from shop.api import app


@pytest.fixture
async def client():
    async with AsyncClient(transport=ASGITransport(app), base_url="http://shop") as client:
        yield client
