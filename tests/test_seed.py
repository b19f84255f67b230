"""``pg_seed``: its rows are part of the template, and a reset restores them after every test."""

from __future__ import annotations

import pytest

from pytest_pgtemplate._urls import database_names
from support.programs import load_program
from support.projects import ITEM, Project

CONFTEST = """
import os
import pytest
{seed}

@pytest.fixture(scope="session")
def pg_seed():
    return {name}
"""

SYNC = load_program("seed/sync.py")

ASYNC = """
import asyncpg

async def fill(url):
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    await connection.execute("INSERT INTO item (name) VALUES ('seeded')")
    await connection.close()
"""

TESTS = load_program("seed/tests.py")


@pytest.fixture
def seeded(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.write("test_seed.py", TESTS)
    return project


def test_seeded_rows_are_put_in_once_and_come_back(seeded: Project) -> None:
    seeded.write("conftest.py", CONFTEST.format(seed=SYNC, name="fill"))

    for _ in range(2):
        seeded.run_workers(workers=2).assert_outcomes(passed=4)

    assert seeded.log.read_text() == "seeded\n"


def test_a_seed_may_be_a_coroutine_function(seeded: Project) -> None:
    seeded.write("conftest.py", CONFTEST.format(seed=ASYNC, name="fill"))

    seeded.run().assert_outcomes(passed=4)


def test_a_seed_may_have_a_decorator_of_another_file(seeded: Project) -> None:
    seeded.write(
        "retrying.py",
        """
        from functools import wraps

        def retry(function):
            @wraps(function)
            def retried(url):
                return function(url)
            return retried
        """,
    )
    decorated = SYNC.replace("def fill(", "from retrying import retry\n\n@retry\ndef fill(")
    seeded.write("conftest.py", CONFTEST.format(seed=decorated, name="fill"))

    seeded.run().assert_outcomes(passed=4)


def test_a_seed_may_call_a_command_line_tool(seeded: Project) -> None:
    """Such a tool, Click's for example, ends with ``sys.exit(0)``."""
    seed = f"import sys\n{ASYNC}    sys.exit(0)\n"
    seeded.write("conftest.py", CONFTEST.format(seed=seed, name="fill"))

    seeded.run().assert_outcomes(passed=4)


def test_a_seed_may_come_from_a_package(seeded: Project) -> None:
    seeded.write("shop/__init__.py", "")
    seeded.write("shop/rows.py", "NAME = 'seeded'")
    seeded.write(
        "shop/seeds.py",
        ASYNC.replace("'seeded'", "$1")
        .replace('VALUES ($1)")', 'VALUES ($1)", NAME)')
        .replace("import asyncpg", "import asyncpg\nfrom .rows import NAME"),
    )
    seeded.write("conftest.py", CONFTEST.format(seed="from shop.seeds import fill", name="fill"))

    seeded.run().assert_outcomes(passed=4)


def test_another_seed_is_another_template(seeded: Project) -> None:
    seeded.write("conftest.py", CONFTEST.format(seed=ASYNC, name="fill"))
    seeded.run().assert_outcomes(passed=4)
    seeded.write("conftest.py", CONFTEST.format(seed=ASYNC.replace("seeded", "other"), name="fill"))

    seeded.run().assert_outcomes(failed=4)


def test_what_is_beside_the_seed_belongs_to_it(seeded: Project) -> None:
    seed = f"NAME = 'seeded'\n{ASYNC}".replace("""('seeded')")""", """($1)", NAME)""")
    seeded.write("conftest.py", CONFTEST.format(seed=seed, name="fill"))
    seeded.run().assert_outcomes(passed=4)
    other = seed.replace("NAME = 'seeded'", "NAME = 'other'")
    seeded.write("conftest.py", CONFTEST.format(seed=other, name="fill"))

    seeded.run().assert_outcomes(failed=4)


@pytest.mark.parametrize(
    ("seed", "name", "says", "left"),
    [
        ("", "lambda url: None", "cannot import", 0),
        ("def fill(url):\n    raise RuntimeError('no rows today')", "fill", "no rows today", 1),
        ("import os\ndef fill(url):\n    os._exit(0)", "fill", "ended before it was done", 1),
    ],
    ids=["a lambda", "one that raises", "one that ends its process"],
)
def test_a_seed_that_does_not_work_is_reported_once(
    seeded: Project, seed: str, name: str, says: str, left: int
) -> None:
    """What was migrated stays: while a seed is being written, nothing is migrated again."""
    seeded.write("conftest.py", CONFTEST.format(seed=seed, name=name))

    result = seeded.run_workers()

    result.assert_outcomes(errors=1, skipped=3)
    assert result.stdout.str().count("HINT:") == 1
    assert says in result.stdout.str()
    assert [database_names.is_template(each) for each in seeded.databases()] == [True] * left


@pytest.mark.parametrize(
    "seed",
    [
        f"{ASYNC}    yield\n",
        "def fill(url):\n    yield\n",
        "from contextlib import contextmanager\n\n@contextmanager\ndef fill(url):\n    yield\n",
    ],
    ids=["async", "sync", "context manager"],
)
def test_a_seed_with_a_yield_would_not_run(seeded: Project, seed: str) -> None:
    seeded.write("conftest.py", CONFTEST.format(seed=seed, name="fill"))

    result = seeded.run()

    result.assert_outcomes(errors=1, skipped=3)
    result.stdout.fnmatch_lines(["*fill has a yield, so that a call of it executes nothing*"])
