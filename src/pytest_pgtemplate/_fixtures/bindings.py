"""``pg_bind``: in each isolated test the application's sessions use the database of the test.

These fixtures exist only if ``pg_bind`` is set.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_pgtemplate._fixtures.factory import fixture
from pytest_pgtemplate._run import fails
from pytest_pgtemplate._settings import fixture_name

if TYPE_CHECKING:
    from pytest_pgtemplate._engines import Bind, Bindings
    from pytest_pgtemplate._run.isolated_database import IsolatedDatabase
    from pytest_pgtemplate._worker import Database


# The requests of ``_pg_bind`` in a test that does not request their database by name, by database.
_UNBOUND_REQUESTS = pytest.StashKey[dict[str, pytest.FixtureRequest]]()


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


@fixture()
def _pg_bound(request: pytest.FixtureRequest, _pg: IsolatedDatabase) -> Iterator[None]:
    """While it is set up, the application uses the database of the test."""
    get, name = request.getfixturevalue, _pg.fixture_name

    def bind(is_async: bool) -> Bind:
        if _pg.rolls_back(request.node):
            return get(name("pg_connection" if is_async else "_pg_sync_connection"))  # type: ignore[no-any-return]
        return get(name("pg_engine" if is_async else "pg_sync_engine"))  # type: ignore[no-any-return]

    with fails(), get(name("_pg_bindings_in_use")).for_test(bind):
        yield


@fixture(autouse=True)
def _pg_bind(request: pytest.FixtureRequest, _pg: IsolatedDatabase) -> None:
    """The first fixture of scope ``function``: others may use the application in their setup."""
    if _pg.fixture_name("pg_database") in request.fixturenames:
        request.getfixturevalue(_pg.fixture_name("_pg_bound"))
    else:
        request.node.stash.setdefault(_UNBOUND_REQUESTS, {})[_pg.name] = request


class LateBindings:
    """Binds during a test that requests a fixture of a database by ``request.getfixturevalue``."""

    def __init__(self, databases: Iterable[str]) -> None:
        self._databases = {
            fixture_name(name, database): database
            for database in databases
            for name in ("pg", "pg_engine", "pg_sync_engine")  # the others depend on these
        }

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        result = yield
        if (database := self._databases.get(fixturedef.argname)) is not None:
            unbound = request.node.stash.get(_UNBOUND_REQUESTS, {}).pop(database, None)
            if unbound is not None:  # not ``request``, because ``_pg_bound`` requests this fixture
                unbound.getfixturevalue(fixture_name("_pg_bound", database))
        return result
