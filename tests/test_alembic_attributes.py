"""env.py's that know of their database through ``config.attributes``, as in Alembic's cookbook."""

from __future__ import annotations

import pytest

from pytest_pgtemplate import Alembic
from pytest_pgtemplate.errors import ConfigurationError
from support.programs import load_program
from support.projects import ITEM, TESTS, Project

URL = """
from alembic import context
from sqlalchemy import create_engine

with create_engine(context.config.attributes["sqlalchemy.url"]).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
CONNECTION = """
from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
"""
CONNECTION_OR_ELSE = load_program("alembic_attributes/connection_or_else.py")
NO_TRANSACTION = """
from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
"""


@pytest.mark.full("one")
@pytest.mark.parametrize("env", [URL, CONNECTION, CONNECTION_OR_ELSE, NO_TRANSACTION])
def test_an_env_py_of_the_cookbook(project: Project, env: str) -> None:
    project.alembic(env)
    project.revision(
        "one",
        f"{ITEM}\nwith op.get_context().autocommit_block():\n"
        "    op.execute('CREATE INDEX CONCURRENTLY ON item (name)')\n"
        if env != NO_TRANSACTION
        else ITEM,
    )
    project.write("test_it.py", TESTS)

    project.run().assert_outcomes(passed=4)


def test_attributes_of_ones_own(project: Project) -> None:
    """Templates as in pg_env, and any other JSON value."""
    project.alembic(
        CONNECTION.replace("connection = ", "attributes = context.config.attributes\nconnection = ")
        + "assert attributes['dsn'].endswith('/' + attributes['name'])\n"
        + "assert (attributes['tenants'], attributes['braces']) == ([1, None], '{}')\n"
    )
    project.revision("one", ITEM)
    project.write("test_it.py", TESTS)
    project.write(
        "conftest.py",
        load_program("alembic_attributes/attributes_of_ones_own.py"),
    )

    project.run().assert_outcomes(passed=4)


@pytest.mark.parametrize("value", ["{nme}", object()])
def test_attributes_that_cannot_be_used(project: Project, value: object) -> None:
    project.alembic()
    with pytest.raises(ConfigurationError, match="attributes"):
        list(Alembic(project.root / "alembic.ini", attributes={"a": value}).fingerprint())


def test_attributes_are_part_of_the_fingerprint(project: Project) -> None:
    project.alembic()
    seen = {
        tuple(Alembic(project.root / "alembic.ini", attributes=attributes).fingerprint())
        for attributes in ({}, {"a": 1}, {"a": 2}, {"b": 1})
    }
    assert len(seen) == 4
