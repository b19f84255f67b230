"""Find conflicting overrides of ``pg_migrations`` and ``pg_seed``: a database has one template."""

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
    """Return an error if tests that need the template see different overrides of one fixture.

    Otherwise, the override that the first test sees would build the template for all tests.
    """
    template, *fixtures = (fixture_name(name, database) for name in ("pg_template", *_OVERRIDABLE))
    seen: dict[str, str] = {}
    for item in items:
        if not {template, fixture_name("pg", database)} & {*getattr(item, "fixturenames", ())}:
            continue
        for name in fixtures:
            node = override_node(item, name)
            before = seen.setdefault(name, node)
            if node != before:
                return ConfigurationError(
                    f"{name} has two different overrides, in {_place(before)} and {_place(node)},"
                    " but a database has one template",
                    hint="override it once, in a conftest.py above all tests that need it; for a"
                    " second database, add a name to pg_databases: for the name orders, the fixture"
                    " is pg_orders_migrations",
                )
    return None


def _place(node: str) -> str:
    return node or "the top of the project"
