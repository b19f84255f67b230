"""``pg_bind``: in each isolated test the application's sessions use the database of the test.

These fixtures exist only if ``pg_bind`` is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_pgtemplate._fixtures.factory import fixture
from pytest_pgtemplate._run import fails

if TYPE_CHECKING:
    import pytest

    from pytest_pgtemplate._engines import Bind, Bindings
    from pytest_pgtemplate._run.isolated_database import IsolatedDatabase
    from pytest_pgtemplate._worker import Database


@fixture(scope="session")
def _pg_bindings(_pg: IsolatedDatabase) -> Bindings:
    from pytest_pgtemplate._engines import Bindings

    with _pg.reported_once("_pg_bindings"):
        paths = _pg.settings.bind.get(_pg.name, ())
        return Bindings(paths, _pg.engines.lock_waits_limited)


@fixture(scope="session")
def _pg_bindings_in_use(
    _pg: IsolatedDatabase, _pg_bindings: Bindings, pg_database: Database
) -> Iterator[Bindings]:
    with _pg.reported_once("_pg_bindings_in_use"):
        _pg_bindings.refuse_other_database(pg_database.name)
    with _pg.engines.closed_on_reclone(_pg_bindings):
        yield _pg_bindings
    _pg_bindings.close()


@fixture(autouse=True)
def _pg_bind(request: pytest.FixtureRequest, _pg: IsolatedDatabase) -> Iterator[None]:
    """The first fixture of scope ``function``: others may use the application in their setup."""
    get, name = request.getfixturevalue, _pg.fixture_name
    if name("pg_database") not in request.fixturenames:
        yield
        return

    def bind(is_async: bool) -> Bind:
        if _pg.rolls_back(request.node):
            return get(name("pg_connection" if is_async else "_pg_sync_connection"))  # type: ignore[no-any-return]
        return get(name("pg_engine" if is_async else "pg_sync_engine"))  # type: ignore[no-any-return]

    with fails(), get(name("_pg_bindings_in_use")).for_test(bind):
        yield
