"""A chain of fixtures for each database: one set of functions, under each database's names.

``pg_session`` takes ``pg_sessionmaker``; ``pg_orders_session``, which is the same function, takes
``pg_orders_sessionmaker``. The main database has no name of its own.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial, wraps
from itertools import chain
from types import ModuleType
from typing import Any, Literal, NamedTuple

import pytest

from pytest_pgtemplate._run import RUN, IsolatedDatabase
from pytest_pgtemplate._settings import fixture_name
from pytest_pgtemplate.errors import ConfigurationError

Scope = Literal["session", "function"]


class FixtureFunction(NamedTuple):
    """One of the set: for pytest it becomes a fixture of each database."""

    function: Callable[..., Any]
    scope: Scope
    autouse: bool


def fixture(
    scope: Scope = "function", *, autouse: bool = False
) -> Callable[[Callable[..., Any]], FixtureFunction]:
    """Make a function one of the set."""
    return partial(FixtureFunction, scope=scope, autouse=autouse)


def make_plugins(databases: Iterable[str], modules: Iterable[ModuleType]) -> list[ModuleType]:
    """A plugin for each database, with the fixtures of ``modules`` in it under its names.

    Raises ConfigurationError when two of them would have a fixture of the same name.
    """
    everything = chain.from_iterable(vars(module).values() for module in modules)
    fixtures = [each for each in everything if isinstance(each, FixtureFunction)]
    plugins = [_make_plugin(name, fixtures) for name in databases]
    count = Counter(name for each in plugins for name in vars(each) if not name.startswith("__"))
    if twice := sorted(name for name, times in count.items() if times > 1):
        raise ConfigurationError(
            f"there would be two fixtures {twice[0]}", hint="call one of the databases otherwise"
        )
    return plugins


def _make_plugin(database: str, fixtures: Iterable[FixtureFunction]) -> ModuleType:
    @pytest.fixture(scope="session")
    def isolated(pytestconfig: pytest.Config) -> IsolatedDatabase:
        return pytestconfig.stash[RUN].databases[database]

    plugin = ModuleType(f"{__name__}.{database}")
    setattr(plugin, fixture_name("_pg", database), isolated)
    for function, scope, autouse in fixtures:
        name = fixture_name(function.__name__, database)
        make = pytest.fixture(scope=scope, autouse=autouse)
        setattr(plugin, name, make(for_database(database, function)))
    return plugin


def for_database(database: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; it takes the fixtures of ``database``."""
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
        parameters=[each.replace(name=name) for name, each in parameters]
    )
    return renamed
