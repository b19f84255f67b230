"""The verdicts of a check are those of Alembic's own commands, each run alone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from sqlalchemy.engine import URL

from support.alembic_verdicts import Judge
from support.projects import SYNC_ENV, Project, execute, query

FIRST = """
op.create_table("item", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
op.execute("INSERT INTO item VALUES (1, 'one')")
"""
ENUM = """
op.create_table("felt", sa.Column("id", sa.Integer), sa.Column("kind", sa.Enum("a", name="kind")))
"""
INDEX = 'op.create_index("item_name_{}", "item", ["name"])', 'op.drop_index("item_name_{}")'


def outside(statement: str) -> str:
    return f"with op.get_context().autocommit_block():\n    op.execute({statement!r})"


# The revision's upgrade and downgrade, or None if there is none.
LINEAGE: dict[str, tuple[str, str | None]] = {
    "first": (FIRST, 'op.drop_table("item")'),
    "makes_enum": (ENUM, 'op.drop_table("felt")\nop.execute("DROP TYPE kind")'),
    "drops_the_table_only": (
        'op.drop_table("felt")',
        'op.create_table("felt", sa.Column("id", sa.Integer),'
        ' sa.Column("kind", sa.Enum("a", name="kind")))',
    ),
    "drops_type": (
        'op.execute("DROP TYPE kind")',
        "op.execute(\"CREATE TYPE kind AS ENUM ('a')\")",
    ),
    "makes_enum_again": (ENUM, 'op.drop_table("felt")\nop.execute("DROP TYPE kind")'),
    "fails_at_downgrade": ('op.execute("CREATE TABLE a (id int)")', 'op.drop_table("no_such")'),
    "fails_half_way": (
        'op.execute("CREATE TABLE b (id int)")',
        'op.drop_table("b")\nop.execute("SELECT 1 / 0")',
    ),
    "leaves_something": ('op.execute("CREATE TABLE c (id int)")', "pass"),
    "loses_a_row": (
        "op.execute(\"DELETE FROM item WHERE name = 'one'\")",
        "op.execute(\"INSERT INTO item VALUES (2, 'one')\")",
    ),
    "fails_at_the_second_upgrade": (
        'op.execute("CREATE TABLE d (id int)")',
        'op.drop_table("d")\nop.execute("CREATE TABLE d_old (id int)")'
        '\nop.execute("CREATE VIEW d AS SELECT 1")',
    ),
    "refuses": ("pass", 'raise RuntimeError("irreversible")'),
    "has_none": ("pass", None),
    "index": (INDEX[0].format(1), INDEX[1].format(1)),
    "concurrently": (
        outside("CREATE INDEX CONCURRENTLY item_outside ON item (name)"),
        outside("DROP INDEX CONCURRENTLY item_outside"),
    ),
    "concurrently_and_left": (
        outside("CREATE INDEX CONCURRENTLY IF NOT EXISTS item_left ON item (name)"),
        outside("SELECT 1"),
    ),
    "commits_by_itself": (
        'op.execute("CREATE TABLE e (id int)")\nop.execute("COMMIT")\nop.execute("BEGIN")',
        'op.drop_table("e")\nop.execute("COMMIT")\nop.execute("BEGIN")',
    ),
    "deferred": (
        'op.execute("CREATE TABLE f (id int PRIMARY KEY, up int REFERENCES f'
        ' DEFERRABLE INITIALLY DEFERRED)")\nop.execute("INSERT INTO f VALUES (1, 2), (2, 1)")',
        'op.execute("DELETE FROM f")\nop.execute("SET CONSTRAINTS ALL IMMEDIATE")'
        '\nop.drop_table("f")',
    ),
    "last": (INDEX[0].format(2), INDEX[1].format(2)),
}


@pytest.fixture
def project_with_faults(project: Project) -> Project:
    project.alembic(SYNC_ENV)
    for name, (up, down) in LINEAGE.items():
        project.revision(name, up, down)
    return project


@pytest.fixture
def judge(project_with_faults: Project) -> Iterator[Judge]:
    server = project_with_faults.server
    name = f"judge_{project_with_faults.prefix}"
    execute(server.url, f'CREATE DATABASE "{name}"')
    url: URL = server.url.set(drivername="postgresql", database=name)
    yield Judge(project_with_faults.root / "alembic.ini", url)
    for each in query(
        server.url, "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", name
    ):
        execute(server.url, f'DROP DATABASE "{each[0]}" WITH (FORCE)')


def outcomes(project: Project) -> dict[str, str]:
    """Check the project's revisions; the verdict of each."""
    text = str(project.run("--pg-check", "-rA").stdout)
    item = r"^(PASSED|FAILED) alembic.ini::revision\[\S+/(\w+)\.py\]"
    found = re.findall(item, text, re.MULTILINE)
    skipped = re.findall(r"^SKIPPED .* revision (\w+) is irreversible", text, re.MULTILINE)
    return {name: word.lower() for word, name in found} | dict.fromkeys(skipped, "irreversible")


def test_verdicts_are_those_of_alembics_commands(
    project_with_faults: Project, judge: Judge
) -> None:
    """A fault changes no verdict of a revision after it, and none is found where there is none."""
    expected = dict(judge.verdicts())
    assert {"passed", "failed", "irreversible"} == {*expected.values()}

    assert outcomes(project_with_faults) == expected


def test_a_failure_is_remembered_until_its_file_changes(project_with_faults: Project) -> None:
    """The second check walks nothing, and says the same."""
    first = outcomes(project_with_faults)
    assert outcomes(project_with_faults) == first

    file = project_with_faults.root / "migrations/versions/leaves_something.py"
    file.write_text(file.read_text().replace("    pass", '    op.drop_table("c")'))

    assert outcomes(project_with_faults) == first | {"leaves_something": "passed"}


def test_the_order_of_columns_can_be_allowed(project: Project) -> None:
    """PostgreSQL cannot restore it. It has a verdict of its own, which names the option."""
    project.alembic(SYNC_ENV)
    project.revision("first", 'op.execute("CREATE TABLE t (a int, b int)")', 'op.drop_table("t")')
    project.revision("drops", 'op.drop_column("t", "a")', 'op.execute("ALTER TABLE t ADD a int")')

    assert outcomes(project) == {"first": "passed", "drops": "failed"}
    project.run("--pg-check").stdout.fnmatch_lines(["*pg_check_column_order = false allows it*"])
    project.ini(pg_check_column_order="false")
    assert outcomes(project) == {"first": "passed", "drops": "passed"}


def test_a_check_drops_what_a_killed_check_left(project: Project) -> None:
    """Without any test that needs a database."""
    project.alembic(SYNC_ENV)
    project.revision("slow", 'op.execute("SELECT pg_sleep(600)")', "pass")
    run = project.pytester.popen(project.command("--pg-check", "-k", "revision"))
    deadline = time.monotonic() + 300
    while not any(name.endswith("_check") for name in project.databases()):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.kill()
    run.wait()
    project.revision("slow", "pass", "pass", down=None)

    outcomes(project)

    assert not [name for name in project.databases() if "_tpl_" not in name]
