"""``pytest --pg-check``: the faults that it finds, its reports, and what it accepts."""

from __future__ import annotations

import os
import re
import subprocess
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from pytest_pgtemplate import _urls
from pytest_pgtemplate._cli import main
from support.projects import ASYNC_ENV, COUNTED, INI, ITEM, SYNC_ENV, Project, execute, unique


def sql(text: str) -> str:
    """Each statement on its own, as asyncpg takes no more than one. They end with a line."""
    statements = filter(None, map(str.strip, text.split(";\n")))
    return "\n".join(f'op.execute("""{each}""")' for each in statements) or "pass"


BASE = sql("""
    CREATE TYPE mood AS ENUM ('sad', 'fine');
    CREATE SEQUENCE counter;
    CREATE SEQUENCE ids INCREMENT 2;
    CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE DOMAIN price AS int CHECK (VALUE > 0);
    CREATE TABLE item (id int PRIMARY KEY, name text DEFAULT 'x' NOT NULL, size int);
    INSERT INTO item VALUES (1, 'one', 1), (2, 'two', 2);
    CREATE VIEW names AS SELECT name FROM item;
    ALTER TABLE item ADD CONSTRAINT sized CHECK (size > 0);
""")
NO_BASE = sql("""
    DROP VIEW names;
    DROP TABLE item;
    DROP DOMAIN price;
    DROP FUNCTION note, f;
    DROP SEQUENCE ids, counter;
    DROP TYPE mood;
""")


class Fault(NamedTuple):
    """The code of a revision and of its downgrade, and the expected message."""

    up: str
    down: str
    message: str


FAULTS = {
    "index": Fault(
        "CREATE INDEX IF NOT EXISTS item_name ON item (name)",
        "",
        "left behind: index public.item_name: CREATE INDEX item_name ON public.item",
    ),
    "enum value": Fault(
        "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'glad'",
        "",
        "changed: type public.mood",
    ),
    "default": Fault(
        "ALTER TABLE item ALTER name SET DEFAULT 'y'",
        "ALTER TABLE item ALTER name DROP DEFAULT",
        "changed: column name of table public.item\n    - text NOT NULL DEFAULT 'x'::text",
    ),
    "body of a function": Fault(
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "",
        "changed: function public.f()\n"
        "    - AS $function$SELECT 1$function$\n    + AS $function$SELECT 2$function$",
    ),
    "function": Fault(
        "CREATE OR REPLACE FUNCTION g(int) RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "",
        "left behind: function public.g(integer)",
    ),
    "sequence": Fault(
        "CREATE SEQUENCE IF NOT EXISTS more",
        "",
        "left behind: sequence public.more: AS bigint START 1",
    ),
    "options of a sequence": Fault(
        "ALTER SEQUENCE ids INCREMENT 3", "", "changed: sequence public.ids"
    ),
    "comment": Fault(
        "COMMENT ON COLUMN item.size IS 'in cm'",
        "",
        "left behind: comment on column size of table public.item: 'in cm'",
    ),
    "row": Fault(
        "INSERT INTO item (id, name, size) VALUES (3, 'three', 3) ON CONFLICT DO NOTHING",
        "",
        "left behind: row of table public.item: (3,three,3)",
    ),
    "row that goes": Fault(
        "DELETE FROM item WHERE id = 2", "", "missing: row of table public.item: (2,two,2)"
    ),
    "row that changes": Fault(
        "UPDATE item SET size = 7 WHERE id = 1",
        "UPDATE item SET size = 8 WHERE id = 1",
        "missing: row of table public.item: (1,one,1)\n"
        "  left behind: row of table public.item: (1,one,8)",
    ),
    "table": Fault(
        "CREATE TABLE IF NOT EXISTS other (id serial PRIMARY KEY, name text UNIQUE)",
        "",
        "left behind: table public.other: ",
    ),
    "type of a column": Fault(
        "ALTER TABLE item ALTER size TYPE bigint",
        "",
        "changed: column size of table public.item\n    - integer\n    + bigint",
    ),
    "not null": Fault(
        "ALTER TABLE item ALTER size SET NOT NULL",
        "",
        "changed: column size of table public.item\n    - bigint\n    + bigint NOT NULL",
    ),
    "constraint": Fault(
        "ALTER TABLE item DROP CONSTRAINT IF EXISTS sized",
        "",
        "missing: constraint sized on table public.item: CHECK ((size > 0))",
    ),
    "trigger": Fault(
        "DROP TRIGGER IF EXISTS noted ON item;\n"
        "CREATE TRIGGER noted AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION note()",
        "",
        "left behind: trigger noted on table public.item: CREATE TRIGGER noted AFTER INSERT",
    ),
    "view": Fault(
        "CREATE OR REPLACE VIEW names AS SELECT upper(name) AS name FROM item",
        "",
        "changed: view public.names",
    ),
    "policy": Fault(
        "DROP POLICY IF EXISTS own ON item;\n CREATE POLICY own ON item USING (size < 9)",
        "",
        "left behind: policy own on table public.item: FOR ALL TO PUBLIC USING (size < 9)",
    ),
    "row level security": Fault(
        "ALTER TABLE item ENABLE ROW LEVEL SECURITY",
        "",
        "changed: table public.item",
    ),
    "privilege": Fault("GRANT SELECT ON item TO PUBLIC", "", "changed: table public.item"),
    "domain": Fault("ALTER DOMAIN price SET DEFAULT 7", "", "changed: type public.price"),
    "schema": Fault("CREATE SCHEMA IF NOT EXISTS more", "", "left behind: schema more: OWNER "),
    "second upgrade that fails": Fault(
        "SELECT 1 / (2 - nextval('counter'))",
        "",
        "the upgrade of revision {name} fails after the downgrade: DivisionByZero",
    ),
    "second upgrade that differs": Fault(
        "DO $$ BEGIN EXECUTE 'COMMENT ON TABLE item IS ''' || nextval('counter') || ''''; END $$",
        "COMMENT ON TABLE item IS NULL",
        "differs\n  changed: comment on table public.item\n    - '",
    ),
    "downgrade that fails": Fault(
        "", "DROP TABLE missing", "the downgrade of revision {name} fails: UndefinedTable"
    ),
    "order of columns": Fault(
        "ALTER TABLE item DROP COLUMN IF EXISTS name CASCADE",
        "ALTER TABLE item ADD name text DEFAULT 'x' NOT NULL;\n"
        "UPDATE item SET name = CASE id WHEN 1 THEN 'one' ELSE 'two' END;\n"
        "CREATE VIEW names AS SELECT name FROM item",
        "changed: columns of table public.item\n    - id, name, size\n    + id, size, name",
    ),
}


def plant(project: Project, fault: str) -> str:
    """Write a revision that has this fault, and return its name."""
    name = fault.replace(" ", "_")
    up, down, _ = FAULTS[fault]
    project.revision(name, sql(up), sql(down))
    return name


def checks(result: pytest.RunResult, outcome: str = "failed") -> set[str]:
    """The checks with this outcome, by the last part of their node id."""
    found = re.findall(
        rf"^{outcome.upper()}.*alembic\.ini::(\S+?)(?: - .*)?$", str(result.stdout), re.MULTILINE
    )
    return {re.sub(r"revision\[migrations/versions/(.*)\.py\]", r"\1", each) for each in found}


@pytest.fixture
def lineage(project: Project) -> Project:
    """A clean lineage of one revision, and no test."""
    project.alembic(SYNC_ENV)
    project.revision("first", BASE, NO_BASE)
    return project


def test_each_fault_is_reported_once_and_clean_revisions_pass(lineage: Project) -> None:
    """By revision, file, line and object. What comes after a fault is checked all the same."""
    for fault in FAULTS:
        plant(lineage, fault)
    lineage.revision("clean", sql("CREATE TABLE last (id int)"), sql("DROP TABLE last"))

    result = lineage.run("--pg-check", "-rA")

    output = str(result.stdout)
    result.assert_outcomes(failed=len(FAULTS), passed=4, skipped=1)
    assert checks(result) == {fault.replace(" ", "_") for fault in FAULTS}
    assert checks(result, "passed") == {"heads", "build", "first", "clean"}
    for fault, (*_, expected) in FAULTS.items():
        name = fault.replace(" ", "_")
        [message] = re.findall(
            rf"^migrations/versions/{name}\.py:\d+: .*\n(?:  .*\n)*", output, re.MULTILINE
        )
        assert expected.format(name=name) in message
        assert f"revision {name}" in message or f", {name} gives" in message


# Everything that a lineage may do, and go back from


def without_transaction(text: str) -> str:
    """Outside of any transaction."""
    return f"with op.get_context().autocommit_block():\n    {sql(text)}"


CLEAN = {
    "rename": (
        sql("ALTER TABLE item RENAME TO thing;\n ALTER TABLE thing RENAME size TO length"),
        sql("ALTER TABLE thing RENAME length TO size;\n ALTER TABLE thing RENAME TO item"),
    ),
    "after_the_rename": (
        sql("CREATE OR REPLACE VIEW names AS SELECT name, 1 AS one FROM thing"),
        sql("DROP VIEW names;\n CREATE VIEW names AS SELECT name FROM thing"),
    ),
    "rows_that_differ": (
        "import app\n"
        + sql(
            "CREATE TABLE log (id uuid DEFAULT gen_random_uuid(), at timestamptz DEFAULT now());\n"
            "INSERT INTO log DEFAULT VALUES;\n"
            "CREATE TABLE kept (id serial)"
        ),
        sql("DROP TABLE kept;\n DROP TABLE log"),
    ),
    "ids_that_differ": (
        sql("INSERT INTO kept DEFAULT VALUES"),
        sql("DELETE FROM kept"),
    ),
    "privileges": (
        sql("GRANT SELECT ON thing TO PUBLIC;\n COMMENT ON TABLE thing IS 'a thing'"),
        sql("REVOKE SELECT ON thing FROM PUBLIC;\n COMMENT ON TABLE thing IS NULL"),
    ),
}
OUTSIDE = {
    "concurrently": (
        without_transaction("CREATE INDEX CONCURRENTLY thing_name ON thing (name)"),
        without_transaction("DROP INDEX CONCURRENTLY thing_name"),
    ),
    "enum": (
        without_transaction("ALTER TYPE mood ADD VALUE 'glad'")
        + "\n"
        + sql("CREATE TABLE felt (mood mood DEFAULT 'glad')"),
        sql(
            "DROP TABLE felt;\n ALTER TYPE mood RENAME TO old;\n"
            "CREATE TYPE mood AS ENUM ('sad', 'fine');\n DROP TYPE old"
        ),
    ),
}
ASYNC = ASYNC_ENV.replace("import asyncio", "import asyncio, app").replace(
    "    context.configure(connection=connection)",
    """\
    connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS versions")
    connection.commit()
    context.configure(connection=connection, version_table_schema="versions")""",
)
IN_ONE_TRANSACTION = """
import app
from alembic import context
from sqlalchemy import create_engine

with create_engine(context.config.get_main_option("sqlalchemy.url")).begin() as connection:
    context.configure(connection=connection)
    context.run_migrations()
"""
TWO_PLACES = INI.replace(
    "path_separator = os",
    "path_separator = space\nprepend_sys_path = %(here)s\n"
    "version_locations = %(here)s/migrations/versions %(here)s/more",
)


@pytest.mark.full("one")
@pytest.mark.parametrize(
    ("env", "revisions"),
    [(ASYNC, CLEAN | OUTSIDE), (IN_ONE_TRANSACTION, CLEAN)],
    ids=["async", "in one transaction"],
)
def test_a_clean_lineage_passes(
    project: Project, env: str, revisions: dict[str, tuple[str, str]]
) -> None:
    """Also with branches, a merge, two places for versions, and the application imported."""
    project.alembic(env, TWO_PLACES)
    project.write("app.py", "")
    project.revision("first", BASE, NO_BASE)
    for name, (up, down) in revisions.items():
        project.revision(name, up, down)
    *_, last = revisions
    project.revision("left", sql("CREATE TABLE l ()"), sql("DROP TABLE l"))
    project.revision(
        "right", sql("CREATE TABLE r ()"), sql("DROP TABLE r"), down=last, folder="more"
    )
    project.revision("merge", "pass", "pass", down=("left", "right"))

    result = project.run("--pg-check", "-rA")

    assert checks(result, "passed") == {
        *("heads", "build", "first", "left", "merge", *revisions),
        "revision[more/right.py]",
    }
    result.assert_outcomes(passed=len(revisions) + 6, skipped=1)  # there are no models


def test_an_env_py_that_reads_x_arguments_gets_none(lineage: Project) -> None:
    """As without ``alembic -x``: what it takes then is what is checked."""
    env = SYNC_ENV.replace(
        "    context.configure(connection=connection)",
        """\
    [] = context.get_x_argument()
    schema = context.get_x_argument(as_dictionary=True).get("schema", "usual")
    connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    connection.commit()
    context.configure(connection=connection, version_table_schema=schema)""",
    )
    assert env != SYNC_ENV
    lineage.alembic(env)
    plant(lineage, "index")

    result = lineage.run("--pg-check", "-rA")

    assert checks(result, "passed") == {"heads", "build", "first"}
    assert checks(result) == {"index"}


def test_migrations_run_as_env_py_asks_for(lineage: Project) -> None:
    """With the keywords of ``run_migrations``, and with callbacks for each version."""
    env = SYNC_ENV.replace(
        "    context.configure(connection=connection)",
        """\
    def note(ctx, step, heads, run_args):
        change = "INSERT INTO applied VALUES (1)" if step.is_upgrade else "DELETE FROM applied"
        if step.up_revision_id == "second":
            assert run_args == {"size": 7}
            ctx.connection.exec_driver_sql(change)

    context.configure(connection=connection, on_version_apply=note)""",
    ).replace("context.run_migrations()", "context.run_migrations(size=7)")
    lineage.alembic(env)
    first = lineage.revision(
        "first", sql("CREATE TABLE applied (n int)"), sql("DROP TABLE applied"), down=None
    )
    second = lineage.revision(
        "second",
        'op.execute(f"CREATE TABLE t (c varchar({size}))")',
        'op.execute("DROP TABLE t"); assert size == 7',
    )
    for file in (first, second):
        text = file.read_text().replace("upgrade():", "upgrade(size):")
        file.write_text(text.replace("downgrade():", "downgrade(size):"))

    result = lineage.run("--pg-check", "-rA")

    assert checks(result) == set()
    assert {"first", "second"} <= checks(result, "passed")


def test_a_mistake_in_a_downgrade_is_no_irreversible_revision(lineage: Project) -> None:
    lineage.revision("misspelt", "pass", 'op.drop_tabel("item")')
    lineage.revision("unknown", "pass", "op.drop_table(MISSING)")

    result = lineage.run("--pg-check", "-rA")

    assert checks(result) == {"misspelt", "unknown"}


AUTOCOMMIT_ENV = SYNC_ENV.replace(
    "poolclass=pool.NullPool", "poolclass=pool.NullPool, isolation_level='AUTOCOMMIT'"
)
HELPER = """
def refuse(text):
    raise RuntimeError(text)
"""


@pytest.mark.full("one")
@pytest.mark.parametrize("env", [SYNC_ENV, AUTOCOMMIT_ENV], ids=["transactions", "autocommit"])
def test_any_exception_that_is_raised_before_a_statement_is_a_refusal(
    lineage: Project, env: str
) -> None:
    lineage.alembic(env)
    refusals = {
        "raises": 'raise LookupError("no way back")',
        "asserts": 'assert False, "no way back"',
        "calls": 'refuse("no way back")',
        "exits": 'raise SystemExit("no way back")',
    }
    for name, undo in refusals.items():
        file = lineage.revision(name, "pass", undo)
        file.write_text(file.read_text() + HELPER)
    lineage.revision("late", "pass", 'op.execute("SELECT 1")\nraise LookupError("too late")')
    lineage.revision("parses", "pass", 'import json\njson.loads("")')

    result = lineage.run("--pg-check", "-rA")

    skipped = re.findall(r"revision (\w+) is irreversible", str(result.stdout))
    assert set(skipped) == set(refusals)
    assert checks(result) == {"late", "parses"}


@pytest.mark.full("one")
@pytest.mark.parametrize("env", [SYNC_ENV, AUTOCOMMIT_ENV], ids=["transactions", "autocommit"])
def test_temporary_tables_do_not_reach_the_second_upgrade(lineage: Project, env: str) -> None:
    lineage.alembic(env)
    lineage.revision("moved", sql("CREATE TEMP TABLE moved AS SELECT * FROM item"), "pass")
    both = sql("CREATE TEMP TABLE both_ways (id int) ON COMMIT DROP")
    lineage.revision("both", both, both)

    result = lineage.run("--pg-check", "-rA")

    assert checks(result) == ({"moved"} if env == AUTOCOMMIT_ENV else set())


def test_models_are_compared_after_env_py_has_changed_the_result(project: Project) -> None:
    env = SYNC_ENV.replace(
        "connection=connection",
        "connection=connection, target_metadata=metadata,"
        " process_revision_directives=lambda context, revision, directives: directives.clear()",
    )
    metadata = "import sqlalchemy as sa\nmetadata = sa.MetaData()\n"
    project.alembic(metadata + 'sa.Table("new", metadata, sa.Column("id", sa.Integer))\n' + env)
    project.revision("first", "pass", "pass")

    result = project.run("--pg-check", "-rA")

    assert "models" in checks(result, "passed")


def test_a_failure_that_rebuild_disproves_is_forgotten(lineage: Project) -> None:
    """The helper of a revision is no part of what its verdict depends on."""
    lineage.write("helper.py", "def undo(op): raise_an_error\n")
    lineage.alembic(SYNC_ENV, INI + "prepend_sys_path = %(here)s\n")
    lineage.revision("second", "pass", "from helper import undo; undo(op)")
    assert checks(lineage.run("--pg-check", "-rA")) == {"second"}

    lineage.write("helper.py", "def undo(op): ...\n")

    assert checks(lineage.run("--pg-check", "--pg-rebuild", "-rA")) == set()
    assert checks(lineage.run("--pg-check", "-rA")) == set()


# Ways out


def test_no_downgrade_below_an_irreversible_revision(lineage: Project) -> None:
    """It is skipped, by name, what is below it is not asked for, what is above is checked."""
    lineage.revision("said", "pass", 'raise NotImplementedError("its rows are gone")')
    lineage.revision("above", "pass", "pass")
    found = lineage.revision("found", "pass", "refuse()")
    refuse = "def refuse():\n    raise NotImplementedError\n"
    found.write_text(found.read_text() + refuse)
    lineage.revision("last", "pass", "pass")

    result = lineage.run("--pg-check", "-rs", "-v")

    result.assert_outcomes(passed=4, skipped=3)
    output = str(result.stdout)
    assert "first" not in output
    assert "revision said is irreversible" in output
    assert "revision found is irreversible" in output

    path = lineage.revision("marked", "pass", "pass")
    path.write_text("irreversible = True\n" + path.read_text())
    result = lineage.run("--pg-check", "-rs")
    result.assert_outcomes(passed=2, skipped=2)  # and there are no models
    assert "revision marked is irreversible" in str(result.stdout)


def test_an_old_project_begins_somewhere(lineage: Project) -> None:
    plant(lineage, "index")
    lineage.revision("since", "pass", "pass")
    lineage.revision("later", "pass", "pass")
    lineage.ini(pg_check="true", pg_check_since="since")
    result = lineage.run("-v")
    result.assert_outcomes(passed=4, skipped=1)
    assert "index" not in str(result.stdout)

    lineage.ini(pg_check="true", pg_check_since="missing")
    result = lineage.run()
    result.assert_outcomes(errors=1)
    assert "pg_check_since: there is no revision 'missing'" in str(result.stdout)


# The lineage as a whole


def test_a_path_may_contain_dots(project: Project) -> None:
    """As in ``cd tests; pytest --pg-check --pg-alembic-ini=../alembic.ini``."""
    project.alembic()
    project.revision("one", ITEM, 'op.drop_table("item")')

    result = project.run("--pg-check", "--pg-alembic-ini=migrations/../alembic.ini")

    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*not found*")


def test_heads_are_counted(project: Project) -> None:
    project.alembic()
    project.revision("first", "pass", "pass", down=None)
    project.revision("left", "pass", "pass", down="first")
    project.revision("right", "pass", "pass", down="first")
    result = project.run("--pg-check", "-k", "heads")
    result.assert_outcomes(failed=1, deselected=5)
    assert "2 heads, not 1: left (left.py), right (right.py)" in str(result.stdout)

    project.ini(pg_check_heads="2")
    project.run("--pg-check").assert_outcomes(passed=5, skipped=1)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("revision = 'two'\ndown_revision = 'missing'", "needs revision 'missing'"),
        ("revision = 'one'\ndown_revision = None", "revision 'one' is also in "),
        ("revision = 'two'\ndown_revision = 'two'", "is detected in revisions (two)"),
        ("revision = 'two'\ndown_revision = (", "two.py:2: "),
        ("revision = make()\ndown_revision = None", "two.py:1: NameError"),
    ],
)
def test_a_broken_lineage_names_the_file(project: Project, declared: str, message: str) -> None:
    project.alembic()
    project.revision("one", "pass", "pass", down=None)
    project.write("migrations/versions/two.py", declared)

    result = project.run("--pg-check")

    result.assert_outcomes(failed=1)
    output = str(result.stdout)
    assert message in output
    assert "migrations/versions/two.py" in output


def test_models_are_compared_as_env_py_asks_for_it(project: Project) -> None:
    """Operations that are missing, and tables that no model knows."""
    models = """
    import sqlalchemy as sa
    metadata = sa.MetaData()
    sa.Table("item", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("size", {}))
    """
    project.write("models.py", models.format("sa.Integer"))
    env = SYNC_ENV.replace(
        "connection=connection", "connection=connection, target_metadata=metadata"
    )
    project.alembic("from models import metadata\n" + env, INI + "prepend_sys_path = %(here)s\n")
    project.revision(
        "first", sql("CREATE TABLE item (id serial PRIMARY KEY, size int)"), sql("DROP TABLE item")
    )
    project.run("--pg-check").assert_outcomes(passed=4)

    project.revision("second", sql("CREATE TABLE old (id int)"), sql("DROP TABLE old"))
    project.write("models.py", models.format("sa.Text, index=True"))
    result = project.run("--pg-check")
    result.assert_outcomes(passed=4, failed=1)
    output = str(result.stdout)
    assert "tables without a model: old" in output
    assert "op.alter_column('item', 'size'," in output
    assert "op.create_index(op.f('ix_item_size'), 'item', ['size'], unique=False)" in output
    assert "drop_table" not in output

    project.write("models.py", "import sqlalchemy as sa\nmetadata = sa.MetaData()")
    output = str(project.run("--pg-check").stdout)
    assert "target_metadata in env.py is empty: import the models in env.py" in output


def test_a_template_that_is_not_what_the_migrations_build(lineage: Project) -> None:
    """They read a file that is no part of the fingerprint."""
    extra = lineage.write("extra.sql", "CREATE TABLE extra (id int)")
    body = f"op.execute(open({str(extra)!r}).read())"
    lineage.revision("reads", body, sql("DROP TABLE extra"))
    lineage.write("test_it.py", "def test_it(pg_database):\n    pass\n")
    lineage.run().assert_outcomes(passed=1)
    lineage.write("extra.sql", "CREATE TABLE extra (id bigint)")

    result = lineage.run("--pg-check")

    result.assert_outcomes(passed=4, failed=1, skipped=1)
    expected = "changed: column id of table public.extra\n    - integer\n    + bigint"
    assert expected in str(result.stdout)
    lineage.run("--pg-check", "--pg-rebuild").assert_outcomes(passed=5, skipped=1)
    assert all("_tpl_" in name for name in lineage.databases())


# What was proved is remembered


@pytest.fixture
def pluralize(lineage: Project) -> Project:
    """A lineage whose last revision counts its upgrades."""
    lineage.revision("counted", sql("CREATE TABLE counted ()") + COUNTED, sql("DROP TABLE counted"))
    return lineage


def test_what_was_proved_is_not_proved_again(pluralize: Project) -> None:
    """A new revision is, on top of what the template of before holds; a changed one is, too."""
    pluralize.run("--pg-check").assert_outcomes(passed=4, skipped=1)
    assert pluralize.migrations() == 3  # for the template, and up and up again
    pluralize.run("--pg-check").assert_outcomes(passed=4, skipped=1)
    assert pluralize.migrations() == 3

    plant(pluralize, "index")
    pluralize.run("--pg-check").assert_outcomes(passed=4, failed=1, skipped=1)
    assert pluralize.migrations() == 3 + 1  # a fault is walked again, from nothing
    pluralize.revision("index", "pass", "pass", down="counted")
    pluralize.run("--pg-check").assert_outcomes(passed=5, skipped=1)
    assert pluralize.migrations() == 4

    first = pluralize.root / "migrations/versions/first.py"
    first.write_text(first.read_text() + "\n# as it should be\n")
    pluralize.run("--pg-check").assert_outcomes(passed=5, skipped=1)
    assert pluralize.migrations() == 4 + 3


def test_nothing_is_remembered_of_a_file_that_changed_during_its_check(
    lineage: Project,
) -> None:
    file = lineage.revision(
        "corrected",
        f"{COUNTED}\nif os.path.exists('flag'):\n    open(__file__, 'a').write('# corrected')",
        sql("SELECT 1"),
    )
    lineage.run("--pg-check", "-k", "build").assert_outcomes(passed=1)
    before = lineage.migrations()
    text = file.read_text()
    lineage.write("flag", "")
    lineage.run("--pg-check", "-k", "corrected").assert_outcomes(passed=1)
    (lineage.root / "flag").unlink()
    file.write_text(text)

    lineage.run("--pg-check", "-k", "corrected").assert_outcomes(passed=1)

    assert lineage.migrations() - before == 2 * 2  # up and up again, in both checks


def test_revisions_that_commit_do_not_end_the_walk(pluralize: Project) -> None:
    for name in ("one", "two"):
        up, down = f"CREATE TABLE {name} ()", f"DROP TABLE {name}"
        ends = "\nop.execute('COMMIT')\nop.execute('BEGIN')"
        pluralize.revision(name, sql(up) + ends, sql(down) + ends)

    result = pluralize.run("--pg-check", "-rA")

    assert {"one", "two"} <= checks(result, "passed")
    assert pluralize.migrations() == 3  # for the template, and up and up again


@pytest.mark.full
def test_rebuild_forgets(pluralize: Project) -> None:
    pluralize.run("--pg-check").assert_outcomes(passed=4, skipped=1)
    pluralize.run("--pg-check", "--pg-rebuild").assert_outcomes(passed=4, skipped=1)
    assert pluralize.migrations() == 6


def test_a_verdict_belongs_to_a_role(lineage: Project) -> None:
    """Only a superuser may disable the triggers of a foreign key."""
    lineage.revision(
        "references",
        sql("CREATE TABLE part (of_item int REFERENCES item)"),
        sql("ALTER TABLE part DISABLE TRIGGER ALL;\nDROP TABLE part"),
    )
    role = unique("plain")
    execute(lineage.server.url, f"CREATE ROLE {role} LOGIN CREATEDB")
    as_role = f"--pg-url={_urls.render(lineage.server.url.set(username=role))}"
    try:
        assert checks(lineage.run("--pg-check", "-rA")) == set()
        assert checks(lineage.run("--pg-check", "-rA", as_role)) == {"references"}
        assert checks(lineage.run("--pg-check", "-rA")) == set()
    finally:
        lineage.clean()
        execute(lineage.server.url, f"DROP ROLE {role}")


# Items of the run


def test_workers_share_the_walk(pluralize: Project) -> None:
    for number in range(30):
        table = f"t{number}"
        pluralize.revision(table, sql(f"CREATE TABLE {table} ()"), sql(f"DROP TABLE {table}"))
    plant(pluralize, "index")

    result = pluralize.run_workers("--pg-check", "--junitxml=report.xml")

    result.assert_outcomes(passed=34, failed=1, skipped=1)
    assert pluralize.migrations() in {1 + 2 + 1, 1 + 2}  # who begins later passes by
    [failure] = ElementTree.parse(pluralize.root / "report.xml").iter("failure")
    assert "left behind: index public.item_name" in str(failure.text)
    assert all("_tpl_" in name for name in pluralize.databases())


def test_what_failed_last_is_checked_again_alone(lineage: Project) -> None:
    plant(lineage, "index")
    lineage.revision("clean", "pass", "pass")
    lineage.run("-pcacheprovider", "--pg-check").assert_outcomes(passed=4, failed=1, skipped=1)

    result = lineage.run("-pcacheprovider", "--pg-check", "--lf", "-rA")
    assert checks(result) == {"index"}
    result.assert_outcomes(failed=1, deselected=0)

    lineage.revision("index", "pass", "pass", down="first")
    result = lineage.run("-pcacheprovider", "--pg-check", "--lf", "-rA")
    assert checks(result, "passed") == {"index"}
    result.assert_outcomes(passed=1, deselected=0)


def test_nothing_is_left_when_a_check_is_killed(lineage: Project) -> None:
    started = lineage.root / "started"
    lineage.revision(
        "slow", f"open({str(started)!r}, 'w').close()\nimport time; time.sleep(60)", "pass"
    )
    command = lineage.command("--pg-check", "-k", "slow")
    with subprocess.Popen(command, cwd=lineage.root, stdout=subprocess.DEVNULL) as process:
        while not started.exists():
            assert process.poll() is None
            os.sched_yield()
        [scratch] = lineage.databases()
        process.kill()
    assert re.fullmatch(rf"{lineage.prefix}_[0-9a-f]{{8}}_main_check", scratch)

    lineage.revision("slow", "pass", "pass", down="first")
    lineage.write("test_it.py", "def test_it(pg_database):\n    pass\n")
    lineage.run().assert_outcomes(passed=1)
    assert scratch not in lineage.databases()


@pytest.fixture
def two(lineage: Project) -> Project:
    """The lineage, and that of a further database, each with a fault."""
    plant(lineage, "index")
    lineage.write("orders/alembic.ini", INI)
    lineage.write("orders/migrations/env.py", SYNC_ENV)
    folder = "orders/migrations/versions"
    lineage.revision(
        "bill", sql("CREATE TABLE bill ()"), sql("DROP TABLE bill"), down=None, folder=folder
    )
    lineage.revision("left", sql("CREATE TABLE IF NOT EXISTS left_over ()"), "pass", folder=folder)
    lineage.revision("last", "pass", "pass", folder=folder)
    lineage.ini(pg_databases="orders", pg_alembic_ini_orders="orders/alembic.ini")
    return lineage


def test_each_database_has_its_checks(two: Project) -> None:
    """On databases of its own, remembered with its template; and without a word in conftest.py."""
    for templates in ("migrated", "reused"):
        result = two.run_workers("--pg-check", "-v")

        result.assert_outcomes(passed=7, failed=2, skipped=2)
        result.stdout.fnmatch_lines_random(
            [
                "*FAILED*alembic.ini::revision[[]migrations/versions/index.py[]]*",
                "*FAILED*orders/alembic.ini::revision[[]migrations/versions/left.py[]]*",
                "*PASSED*orders/alembic.ini::revision[[]migrations/versions/last.py[]]*",
                "  left behind: index public.item_name: *",
                "orders/migrations/versions/left.py:*: the downgrade of revision left *",
                "  left behind: table public.left_over: *",
                f"pgtemplate: orders: template {two.prefix}_orders_tpl_*",
            ]
        )
        assert len(re.findall(rf"_tpl_\w+ {templates}", str(result.stdout))) == 2
    marks = [found.mark for name in two.databases() if (found := two.server.find(name))]
    # The build, and bill and last of the one, first of the other.
    assert [len(mark.proved) for mark in marks if mark] == [3, 2]


@pytest.mark.full
def test_options_of_a_check_are_those_of_a_database(two: Project) -> None:
    two.ini(
        pg_databases="orders",
        pg_alembic_ini_orders="orders/alembic.ini",
        pg_check_since="index",
        pg_check_since_orders="left",
        pg_check_heads_orders="2",
        pg_revision_orders="left",
    )
    result = two.run("--pg-check", "-rfs")

    result.assert_outcomes(passed=3, failed=3, skipped=3)
    result.stdout.fnmatch_lines_random(
        [
            "*, or set pg_check_heads_orders to their number",
            "*last is not part of pg_revision",
        ]
    )


def test_one_of_two_that_has_no_alembic_environment_is_not_checked(two: Project) -> None:
    (two.root / "alembic.ini").unlink()
    two.run("--pg-check").assert_outcomes(passed=4, failed=1, skipped=1)


def test_the_command_checks_and_runs_no_test(
    lineage: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    lineage.write("test_it.py", "raise RuntimeError")
    plant(lineage, "index")
    url = str(_urls.render(lineage.server.url))
    with pytest.raises(SystemExit) as ended:
        main.main(["--url", url, "check", "-p", "no:cacheprovider", "-k", "index or heads"])
    assert ended.value.code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 1 passed, 3 deselected" in capfd.readouterr().out


@pytest.mark.full("one")
@pytest.mark.parametrize("dist", ["load", "loadscope", "each"])
def test_an_option_of_xdist_that_starts_no_worker(lineage: Project, dist: str) -> None:
    """Such as ``addopts = --dist loadscope``, where only CI adds ``-n``."""
    lineage.revision("bad", sql("CREATE TABLE left_behind ()"), "pass")
    lineage.run("--pg-check", "--dist", dist).assert_outcomes(passed=3, failed=1, skipped=1)


def test_without_the_option_nothing_is_read(project: Project) -> None:
    """Not even where there is a lineage that could not be."""
    project.alembic("raise RuntimeError")
    project.write("migrations/versions/one.py", "revision =")
    project.write(
        "test_it.py",
        """
        import sys

        def test_it():
            assert not [name for name in sys.modules if "pytest_pgtemplate._check" in name]
        """,
    )
    project.pytester.runpytest_subprocess("alembic.ini", "test_it.py").assert_outcomes()
    project.pytester.runpytest_subprocess("test_it.py").assert_outcomes(passed=1)


def test_there_has_to_be_an_alembic_environment(project: Project) -> None:
    result = project.run("--pg-check")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "pg_check: there is no file" in str(result.stderr)
