"""A chain of fixtures for each database: one set of functions, under each database's names.

``pg_session`` takes ``pg_sessionmaker``; ``pg_orders_session``, which is the same function, takes
``pg_orders_sessionmaker``. The main database has no name of its own.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from types import ModuleType
from typing import Any, Literal, TypeVar

import pytest

from pytest_pgtemplate import _names
from pytest_pgtemplate._run import RUN, Isolated
from pytest_pgtemplate.errors import ConfigurationError

Scope = Literal["session", "function"]
Function = TypeVar("Function", bound=Callable[..., Any])

_SCOPES: dict[Callable[..., Any], Scope] = {}  # of each function of the set


def fixture(scope: Scope = "function") -> Callable[[Function], Function]:
    """Make a function one of the set."""

    def add(function: Function) -> Function:
        _SCOPES[function] = scope
        return function

    return add


def chains(databases: Iterable[str]) -> Iterator[ModuleType]:
    """A plugin for each database, with its fixtures in it.

    Raises ConfigurationError when two of them would have a fixture of the same name.
    """
    plugins = [_chain(name) for name in databases]
    count = Counter(name for each in plugins for name in vars(each) if not name.startswith("__"))
    if twice := sorted(name for name, times in count.items() if times > 1):
        raise ConfigurationError(
            f"there would be two fixtures {twice[0]}", hint="call one of the databases otherwise"
        )
    yield from plugins


def _chain(database: str) -> ModuleType:
    @pytest.fixture(scope="session")
    def isolated(pytestconfig: pytest.Config) -> Isolated:
        return pytestconfig.stash[RUN].databases[database]

    plugin = ModuleType(f"{__name__}.{database}")
    setattr(plugin, _names.fixture("_pg", database), isolated)
    for function, scope in _SCOPES.items():
        name = _names.fixture(function.__name__, database)
        own = _renamed(function, database) if database else function
        setattr(plugin, name, pytest.fixture(scope=scope)(own))
    return plugin


def _renamed(function: Callable[..., Any], database: str) -> Callable[..., Any]:
    """The same function; it takes the fixtures of ``database``."""
    signature = inspect.signature(function)
    own = {_names.fixture(name, database): name for name in signature.parameters}

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
