"""All that the application's tests need: its settings and its session manager, over the plugin."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from catalog.db import DBSessionManager


# An application that reads its settings while it is imported needs them earlier than any fixture
# runs: the ini option `pg_env = ["POSTGRES_DSN"]` sets them before test modules are imported.
@pytest.fixture(scope="session", autouse=True)
def environment(pg_url: str) -> Iterator[None]:
    """Point the application at this worker's database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSTGRES_DSN", pg_url)
        yield


@pytest_asyncio.fixture
async def db(pg: object, pg_url: str) -> AsyncIterator[DBSessionManager]:
    """The application's own session manager; through `pg`, each test is isolated."""
    manager = DBSessionManager(pg_url)
    yield manager
    await manager.close()
