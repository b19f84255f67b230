import pytest
from conftest import Product, kept, event, select, text


@pytest.mark.parametrize("n", range(2))
async def test_async(n, product, pg_session, pg_sessionmaker):
    kept.append(pg_session)
    pg_session.add(product)
    other = pg_sessionmaker()
    kept.append(other)
    other.add(Product(name="never flushed"))


@pytest.mark.parametrize("n", range(2))
def test_sync(n, product, pg_sync_session, pg_sync_sessionmaker):
    kept.append(pg_sync_session)
    pg_sync_session.add(product)
    kept.append(pg_sync_sessionmaker())
    kept[-1].add(Product(name="never flushed"))


def test_all_are_empty():
    assert [list(session) for session in kept] == [[]] * 8
