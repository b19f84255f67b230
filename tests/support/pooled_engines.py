"""Fixtures: an empty database, and a pooled engine for each driver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._engines.pool import AsyncPooledEngine, SyncPooledEngine
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server.marks import Mark
from pytest_pgtemplate._urls import drivers
from support.projects import unique


@pytest.fixture(scope="module")
def url(server: Server) -> Iterator[URL]:
    """An empty database."""
    name = unique("t_pool")
    server.create(name, Mark("scratch", "pool"))
    yield server.url.set(database=name)
    server.drop(name)


@pytest.fixture(params=drivers.ASYNC_DRIVERS)
def pool(request: pytest.FixtureRequest, url: URL) -> Iterator[AsyncPooledEngine]:
    pytest.importorskip(request.param)
    pool = AsyncPooledEngine(_urls.for_driver(url, request.param), {})
    yield pool
    pool.close()


@pytest.fixture(params=drivers.SYNC_DRIVERS)
def sync_pool(request: pytest.FixtureRequest, url: URL) -> Iterator[SyncPooledEngine]:
    pytest.importorskip(request.param)
    pool = SyncPooledEngine(_urls.for_driver(url, request.param), {})
    yield pool
    pool.close()
