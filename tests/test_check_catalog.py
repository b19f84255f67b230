"""What a walk reads step by step, a little at a time, is what is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from pytest_pgtemplate import _urls
from pytest_pgtemplate._child.catalog import CatalogReader
from pytest_pgtemplate._reset.snapshot import object_functions
from pytest_pgtemplate._server import Mark, Server
from support.programs import load_program

# Each comes after the others. Many write one row of one catalog, or take one away, and no other.
STEPS = load_program("check_catalog/steps.sql")


@pytest.fixture
def connection(server: Server, prefix: str) -> Iterator[Connection]:
    server.create(f"{prefix}_catalog", Mark("scratch", "none"))
    url = _urls.sync_url(server.url.set(database=f"{prefix}_catalog"))
    with create_engine(url, poolclass=NullPool).connect() as connection:
        yield connection


@pytest.mark.parametrize("one_transaction", [False, True])
def test_each_step_is_seen(connection: Connection, one_transaction: bool) -> None:
    """The second reader is new in each step, so it reads everything."""

    def commit() -> None:
        if not one_transaction:
            connection.commit()

    reader = CatalogReader(connection, object_functions(), one_transaction=one_transaction)
    reader.read()
    commit()
    for step in STEPS.splitlines():
        before = reader.read()
        commit()
        connection.exec_driver_sql(step)
        commit()
        now = reader.read()
        assert now == CatalogReader(connection, [], one_transaction=one_transaction).read(), step
        assert now != before, step
        commit()
