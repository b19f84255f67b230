"""Find conflicting overrides of fixtures that a whole database uses, such as ``pg_migrations``."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_pgtemplate._internals.pytest import override_node
from pytest_pgtemplate._settings import fixture_name
from pytest_pgtemplate.errors import ConfigurationError

# By the fixture that keeps the first value for all tests: the fixtures that it requests.
_OVERRIDABLE = {
    "pg_template": ("pg_migrations", "pg_seed"),
    "_pg_engines": ("pg_engine_options",),
    "pg_shared": ("pg_engine_options", "pg_session_options"),
}
_ONCE = "override it once, in a conftest.py above all tests that need it"
_ALTERNATIVES = {
    "pg_template": "; for a second database, add a name to pg_databases: for the name orders, the"
    " fixture is pg_orders_migrations",
    "_pg_engines": "; a test can change an option for itself with pg_engine.execution_options(..)",
}


class OverrideConflicts:
    """Errors by the fixture that would keep the value of the first test's override for all."""

    def __init__(self) -> None:
        self._errors: dict[str, ConfigurationError] = {}

    def add(self, fixture: str, error: ConfigurationError) -> None:
        """Keep the first error of each fixture."""
        self._errors.setdefault(fixture, error)

    def refuse(self, fixture: str) -> None:
        """Raise the error of ``fixture`` if there is one."""
        if fixture in self._errors:
            raise self._errors[fixture]


def find_override_conflicts(items: Iterable[pytest.Item], database: str) -> OverrideConflicts:
    """Find the fixtures of a database of which tests see different overrides."""
    found = OverrideConflicts()
    users = {fixture_name(user, database): user for user in _OVERRIDABLE}
    seen: dict[tuple[str, str], str] = {}
    for item in items:
        names = {*getattr(item, "fixturenames", ())}
        if fixture_name("pg", database) in names:
            names.add(fixture_name("pg_template", database))
        for user in users.keys() & names:
            for overridable in _OVERRIDABLE[users[user]]:
                name = fixture_name(overridable, database)
                node = override_node(item, name)
                before = seen.setdefault((user, name), node)
                if node != before:
                    found.add(users[user], _conflict(name, before, node, users[user]))
    return found


def _conflict(name: str, one: str, other: str, user: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name} has two different overrides, in {_place(one)} and {_place(other)}, but all tests"
        " of a database share its value",
        hint=_ONCE + _ALTERNATIVES.get(user, ""),
    )


def _place(node: str) -> str:
    return node or "the top of the project"
