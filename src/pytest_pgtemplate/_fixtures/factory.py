"""Make a set of fixtures for each database from one set of functions.

``pg_session`` requests ``pg_sessionmaker``. For the database "orders", the same function becomes
``pg_orders_session``, which requests ``pg_orders_sessionmaker``.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial, wraps
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pytest_pgtemplate._run import RUN
from pytest_pgtemplate._settings import fixture_name
from pytest_pgtemplate.errors import ConfigurationError

if TYPE_CHECKING:
    from pytest_pgtemplate._run.isolated_database import IsolatedDatabase

Scope = Literal["session", "function"]


class FixtureFunction:
    """A function that becomes a fixture for each database."""

    def __init__(self, function: Callable[..., Any], scope: Scope, *, autouse: bool) -> None:
        self.function = function
        self.scope = scope
        self.autouse = autouse


def fixture(
    scope: Scope = "function", *, autouse: bool = False
) -> Callable[[Callable[..., Any]], FixtureFunction]:
    """Decorator: mark a function as a fixture for each database."""
    return partial(FixtureFunction, scope=scope, autouse=autouse)


def make_plugins(databases: Iterable[str], modules: Iterable[ModuleType]) -> list[ModuleType]:
    """Return a plugin for each database, with the fixtures of ``modules`` under its names.

    Raises ConfigurationError if two databases would have a fixture of the same name.
    """
    values = chain.from_iterable(vars(module).values() for module in modules)
    fixtures = [value for value in values if isinstance(value, FixtureFunction)]
    plugins = [_make_plugin(name, fixtures) for name in databases]
    names = (name for plugin in plugins for name in vars(plugin) if not name.startswith("__"))
    if duplicates := sorted(name for name, times in Counter(names).items() if times > 1):
        raise ConfigurationError(
            f"there would be two fixtures {duplicates[0]}", hint="rename one of the databases"
        )
    return plugins


def _make_plugin(database: str, fixtures: Iterable[FixtureFunction]) -> ModuleType:
    @pytest.fixture(scope="session")
    def database_fixture(pytestconfig: pytest.Config) -> IsolatedDatabase:
        return pytestconfig.stash[RUN].load_databases()[database]

    plugin = ModuleType(f"{__name__}.{database}")
    setattr(plugin, fixture_name("_pg", database), database_fixture)
    for each in fixtures:
        name = fixture_name(each.function.__name__, database)
        make = pytest.fixture(scope=each.scope, autouse=each.autouse)
        setattr(plugin, name, make(for_database(database, each.function)))
    return plugin


def for_database(database: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose parameters are the fixtures of ``database``."""
    if not database:
        return function
    signature = inspect.signature(function)
    own = {fixture_name(name, database): name for name in signature.parameters}

    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def renamed(**given: Any) -> Any:
            yield from function(**{own[name]: value for name, value in given.items()})

    else:

        @wraps(function)
        def renamed(**given: Any) -> Any:
            return function(**{own[name]: value for name, value in given.items()})

    parameters = zip(own, signature.parameters.values(), strict=True)
    renamed.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[parameter.replace(name=name) for name, parameter in parameters]
    )
    return renamed
