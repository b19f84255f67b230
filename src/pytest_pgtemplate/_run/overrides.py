"""A database has one template: two directories cannot each say what builds it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_pgtemplate._internals.pytest import override_node
from pytest_pgtemplate._settings import fixture_name
from pytest_pgtemplate.errors import ConfigurationError

_OVERRIDABLE = ("pg_migrations", "pg_seed")


def find_override_conflict(
    items: Iterable[pytest.Item], database: str
) -> ConfigurationError | None:
    """What to tell when tests that need the template see different overrides of one fixture.

    pytest would build it with the one that the first test sees, and give it to all.
    """
    template, *fixtures = (fixture_name(each, database) for each in ("pg_template", *_OVERRIDABLE))
    seen: dict[str, str] = {}
    for item in items:
        if not {template, fixture_name("pg", database)} & {*getattr(item, "fixturenames", ())}:
            continue
        for name in fixtures:
            node = override_node(item, name)
            before = seen.setdefault(name, node)
            if node != before:
                return ConfigurationError(
                    f"{name} is not the same everywhere: {_place(before)} and {_place(node)}"
                    " differ, and a database has one template",
                    hint="override it once, in a conftest.py above all tests that need it; for a"
                    " database of its own, name that in pg_databases: with the name orders the"
                    " fixture is pg_orders_migrations",
                )
    return None


def _place(node: str) -> str:
    return node or "the top of the project"
