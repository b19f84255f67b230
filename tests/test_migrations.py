"""The kinds of migrations: each builds its schema, and each change changes its fingerprint."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ENUM
from sqlalchemy.engine import URL

from pytest_pgtemplate import Alembic, Command, Metadata, Migrations, SqlFiles, Target, _urls
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server.marks import Mark
from pytest_pgtemplate._urls import database_names, drivers
from pytest_pgtemplate.errors import ConfigurationError, MigrationError
from support.programs import load_program
from support.projects import ASYNC_ENV, INI, ITEM, SYNC_ENV, TESTS, Project, query

RUN = "0a1b2c3d"

Migrate = Callable[..., URL]


@pytest.fixture
def migrate(prefix: str, server: Server) -> Iterator[Migrate]:
    """Migrate an empty database, each time another one, and give its URL."""
    made: list[str] = []

    def migrate(migrations: Migrations, timeout: float = 60, **env: str) -> URL:
        name = database_names.scratch(prefix, f"{len(made):08x}")
        made.append(name)
        server.create(name, Mark("scratch", RUN))
        url = server.url.set(database=name)
        migrations.migrate(Target(url, timeout, env))
        return url

    yield migrate
    for name in made:
        server.drop(name)


def fingerprint(migrations: Migrations) -> list[bytes]:
    return list(migrations.fingerprint())


# MetaData


ddl: Any = sa.DDL  # untyped


def shop() -> sa.MetaData:
    """Everything that create_all can be made to do."""
    metadata = sa.MetaData(schema="shop")
    mood = ENUM("happy", "it's so-so", name="mood", schema="types")
    product = sa.Table(
        "product",
        metadata,
        sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("name", sa.Text, server_default="100% new; '$1' :x"),
        sa.Column("mood", mood),
        sa.CheckConstraint("name LIKE '%n%'"),
        comment="50% off",
    )
    sa.Table(
        "review",
        metadata,
        sa.Column("product_id", sa.ForeignKey(product.c.id), index=True),
        sa.Column("mood", mood),
        schema='Odd "one"',
    )
    sa.event.listen(
        product,
        "after_create",
        ddl("CREATE VIEW shop.best AS SELECT * FROM %(fullname)s WHERE name LIKE 'b%%'"),
    )
    sa.event.listen(
        metadata,
        "after_create",
        ddl(
            "CREATE FUNCTION shop.one() RETURNS int LANGUAGE plpgsql AS"
            " $$ BEGIN -- a comment; of two parts\n RETURN 1; END $$ -- and one at the end"
        ),
    )
    return metadata


def test_metadata(migrate: Migrate) -> None:
    url = migrate(Metadata(shop()))
    rows = query(
        url,
        "WITH p AS (INSERT INTO shop.product (mood) VALUES ('it''s so-so') RETURNING id, name),"
        ' r AS (INSERT INTO "Odd ""one""".review SELECT id, \'happy\' FROM p RETURNING mood)'
        " SELECT p.name, r.mood::text, shop.one(), obj_description('shop.product'::regclass)"
        " FROM p, r",
    )
    assert [tuple(row) for row in rows] == [("100% new; '$1' :x", "happy", 1, "50% off")]
    definitions = query(
        url,
        "SELECT pg_get_viewdef('shop.best'::regclass),"
        " pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = 'shop.product'::regclass AND contype = 'c'",
    )
    assert "'b%'" in definitions[0][0]
    assert "'%n%'" in definitions[0][1]


def test_metadata_is_fingerprinted_by_its_ddl() -> None:
    first, second = shop(), shop()
    assert fingerprint(Metadata(first)) == fingerprint(Metadata(second))
    second.tables["shop.product"].append_column(sa.Column("price", sa.Numeric))
    assert fingerprint(Metadata(first)) != fingerprint(Metadata(second))


def test_the_order_of_indexes_does_not_change_the_fingerprint_of_metadata() -> None:
    """A table keeps them in a set, by their addresses."""

    def with_indexes(order: list[int]) -> Metadata:
        metadata = sa.MetaData()
        table = sa.Table("t", metadata, *(sa.Column(f"c{n}", sa.Integer) for n in range(9)))
        for n in order:
            sa.Index(f"i{n}", table.c[f"c{n}"])
        return Metadata(metadata)

    orders = [list(range(9)), list(reversed(range(9))), [4, 8, 0, 2, 6, 1, 3, 5, 7]]
    assert len({bytes(fingerprint(with_indexes(order))[-1]) for order in orders}) == 1


def test_metadata_that_the_server_refuses(migrate: Migrate) -> None:
    metadata = sa.MetaData()
    sa.Table("t", metadata, sa.Column("x", sa.Integer, sa.CheckConstraint("no_such_column > 0")))
    with pytest.raises(MigrationError, match="no_such_column"):
        migrate(Metadata(metadata))


# SQL files


def test_sql_files(migrate: Migrate, tmp_path: Path) -> None:
    first, second = tmp_path / "1.sql", tmp_path / "2.sql"
    first.write_text("CREATE TABLE größe (id int); INSERT INTO größe VALUES (1);", "utf-8")
    second.write_text("INSERT INTO größe SELECT id + 1 FROM größe;\n-- done", "utf-8")
    files = SqlFiles(first, str(second))
    assert query(migrate(files), "SELECT sum(id) FROM größe")[0][0] == 3

    before = fingerprint(files)
    assert before != fingerprint(SqlFiles(second, first))
    second.write_text("-- nothing")
    assert before != fingerprint(files)


def test_sql_files_that_fail(migrate: Migrate, tmp_path: Path) -> None:
    """Each file is a transaction, and the one that fails is named."""
    file = tmp_path / "broken.sql"
    file.write_text("CREATE TABLE kept (id int); SELECT * FROM no_such_table;")
    with pytest.raises(MigrationError, match="no_such_table") as caught:
        migrate(SqlFiles(file))
    assert str(file) in caught.value.message
    with pytest.raises(ConfigurationError, match=r"missing\.sql"):
        fingerprint(SqlFiles(tmp_path / "missing.sql"))
    file.write_text("SELECT pg_sleep(600)")
    began = time.monotonic()
    with pytest.raises(MigrationError, match="pg_timeout"):
        migrate(SqlFiles(file), timeout=0.5)
    assert time.monotonic() - began < 60


# Commands

TOOL = load_program("migrations/tool.py")


@pytest.fixture
def tool(tmp_path: Path) -> Callable[..., Command]:
    script = tmp_path / "tool.py"
    script.write_text(TOOL)

    def tool(*arguments: str, env: str | None = "TOOL_URL") -> Command:
        files = tmp_path.rglob("*.py")
        return Command(sys.executable, "tool.py", *arguments, env=env, files=files, cwd=tmp_path)

    return tool


def test_command(migrate: Migrate, tool: Callable[..., Command], tmp_path: Path) -> None:
    command = tool("item")
    assert query(migrate(command), "SELECT count(*) FROM item")[0][0] == 0
    before = fingerprint(command)
    assert fingerprint(tool("item")) == before
    assert fingerprint(tool("items")) != before
    (tmp_path / "tool.py").write_text(TOOL + "#")
    assert fingerprint(tool("item")) != before


def test_a_command_that_reads_what_pg_env_sets(
    migrate: Migrate, tool: Callable[..., Command], server: Server, prefix: str
) -> None:
    reads_pg_env = tool("item", env=None)
    first = server.url.set(database=database_names.scratch(prefix, f"{0:08x}"))
    url = migrate(reads_pg_env, TOOL_URL=str(_urls.dsn(first)))
    assert query(url, "SELECT count(*) FROM item")[0][0] == 0


def test_a_command_is_fingerprinted_alike_in_every_checkout(tmp_path: Path) -> None:
    def command(directory: Path) -> Command:
        directory.mkdir()
        (directory / "a.sql").touch()
        (directory / "b.sql").touch()
        return Command("tool", env="URL", files=directory.glob("*.sql"), cwd=directory)

    one, other = command(tmp_path / "one"), command(tmp_path / "other")
    assert fingerprint(one) == fingerprint(other)
    (tmp_path / "one/b.sql").rename(tmp_path / "one/c.sql")
    renamed = Command("tool", env="URL", files=(tmp_path / "one").glob("*"), cwd=tmp_path / "one")
    assert fingerprint(renamed) != fingerprint(other)


def test_the_variable_of_a_command_belongs_to_its_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.sql").touch()
    one, other = (
        Command("tool", env=name, files=tmp_path.glob("*"))
        for name in ("DATABASE_URI", "DATABASE_URL")
    )
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize("migrations", [SqlFiles(), Command("tool", env="URL", files=[])])
def test_a_pattern_without_a_match_is_an_error(migrations: Migrations) -> None:
    with pytest.raises(ConfigurationError, match="has no files"):
        fingerprint(migrations)


NOTHING_CREATED = {
    "command": ("Command(sys.executable, '-c', '', env='URL', files=[__file__])", "*pass env=*"),
    "class": ("Mine()", "*migrate the database at target.url*"),
    "models": ("Metadata(MetaData())", "*import the modules of the models*"),
    "coroutine": ("Async()", "*define it without async*"),
    "generator": ("Yields()", "*define it without async and yield*"),
}


@pytest.mark.parametrize("kind", NOTHING_CREATED)
def test_migrations_that_succeed_and_have_created_nothing(project: Project, kind: str) -> None:
    """Elsewhere perhaps. Such a template would be empty, also after the mistake is corrected."""
    migrations, hint = NOTHING_CREATED[kind]
    conftest = load_program("migrations/nothing_created.py").replace("MIGRATIONS", migrations)
    project.write("conftest.py", conftest)
    project.write("test_it.py", "def test_one(pg): ...\ndef test_two(pg): ...\n")

    result = project.run()

    result.assert_outcomes(errors=1, skipped=1)
    result.stdout.fnmatch_lines([hint])
    assert project.databases() == []


@pytest.mark.parametrize("code", [1, 3])
def test_a_command_that_fails(migrate: Migrate, code: int) -> None:
    """Whatever its exit code, 3 included, which psql has for a script that fails."""
    script = f"import sys; print('what it said'); sys.exit({code})"
    with pytest.raises(MigrationError) as caught:
        migrate(Command(sys.executable, "-c", script, env="URL", files=[]))
    assert "what it said" in caught.value.message
    assert f"exit code {code}" in caught.value.message


def test_a_command_that_takes_too_long(migrate: Migrate) -> None:
    script = "import time; print('begun', flush=True); time.sleep(600)"
    with pytest.raises(MigrationError) as caught:
        migrate(Command(sys.executable, "-c", script, env="URL", files=[]), timeout=2)
    for word in ("begun", "pg_timeout = 2 s"):
        assert word in caught.value.message


def test_a_command_that_does_not_exist(migrate: Migrate) -> None:
    with pytest.raises(MigrationError, match="no-such-tool"):
        migrate(Command("no-such-tool", env="URL", files=[]))


# Alembic: what its revisions may look like


def applied(url: URL) -> set[str]:
    return {row[0] for row in query(url, "SELECT version_num FROM alembic_version")}


@pytest.fixture
def branches(project: Project) -> Alembic:
    """Two branches with labels, of which one needs the other."""
    project.alembic()
    project.revision("a1", "op.execute('CREATE TABLE a1 ()')", labels=("core",))
    project.revision("b1", "op.execute('CREATE TABLE b1 (LIKE a1)')", down=None, labels=("shop",),
                     needs="a1")  # fmt: skip
    project.revision("b2", "op.execute('CREATE TABLE b2 (LIKE a2)')", needs="a2")
    project.revision("a2", "op.execute('CREATE TABLE a2 ()')", down="a1")
    project.revision("c1", "op.execute('CREATE TABLE c1 ()')", down=None)
    return Alembic(project.root / "alembic.ini")


TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
)


@pytest.mark.parametrize(
    ("revision", "tables"),
    [
        ("heads", "a1 a2 b1 b2 c1"),
        ("core@head", "a1 a2"),
        ("shop@head", "a1 a2 b1 b2"),
        ("b1", "a1 b1"),
        ("a1", "a1"),
        ("c1@head", "c1"),
    ],
)
def test_branches(branches: Alembic, migrate: Migrate, revision: str, tables: str) -> None:
    url = migrate(Alembic(branches.config, revision))
    assert {row[0] for row in query(url, TABLES)} == {*tables.split(), "alembic_version"}


@pytest.mark.parametrize("revision", ["head", "no_such_revision"])
def test_a_target_that_alembic_refuses(branches: Alembic, migrate: Migrate, revision: str) -> None:
    with pytest.raises(MigrationError, match=revision):
        migrate(Alembic(branches.config, revision))


def test_a_merge_and_no_revision_at_all(project: Project, migrate: Migrate) -> None:
    project.alembic()
    alembic = Alembic(project.root / "alembic.ini")
    assert {row[0] for row in query(migrate(alembic), TABLES)} <= {"alembic_version"}
    project.revision("a1", down=None)
    project.revision("b1", down=None)
    merge = project.revision("m1", down="b1")
    merge.write_text(
        re.sub("down_revision = .*", "down_revision = ('a1', 'b1')", merge.read_text())
    )
    assert applied(migrate(alembic)) == {"m1"}


def test_a_version_table_of_another_name(project: Project, migrate: Migrate) -> None:
    project.alembic(
        SYNC_ENV.replace(
            "context.configure(connection=connection",
            "connection.exec_driver_sql('CREATE SCHEMA \"My Shop\"'); connection.commit()\n"
            "    context.configure(connection=connection, version_table='Versions',"
            " version_table_schema='My Shop'",
        )
    )
    project.revision("one", ITEM)
    url = migrate(Alembic(project.root / "alembic.ini"))
    assert query(url, 'SELECT version_num FROM "My Shop"."Versions"')[0][0] == "one"


def test_version_locations_and_a_transaction_for_each_revision(
    project: Project, migrate: Migrate
) -> None:
    """What CREATE INDEX CONCURRENTLY needs, in a directory of its own."""
    project.alembic(
        SYNC_ENV.replace("(connection=connection", "(connection=connection,"
                         " transaction_per_migration=True"),
        INI + "version_path_separator = os\n"  # for an Alembic that knows no path_separator
        f"version_locations = %(here)s/one folder{os.pathsep}%(here)s/other\n",
    )  # fmt: skip
    project.revision("one", ITEM, folder="one folder")
    project.revision(
        "two",
        """
        with op.get_context().autocommit_block():
            op.execute("CREATE INDEX CONCURRENTLY item_name ON item (name)")
        """,
        folder="other",
    )
    url = migrate(Alembic(project.root / "alembic.ini"))
    assert applied(url) == {"two"}
    assert query(url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'item_name'::regclass")


def test_a_script_location_in_a_package(
    project: Project, migrate: Migrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found as Alembic finds it: on sys.path, or through prepend_sys_path."""
    project.write("home/shop_of_packages/__init__.py", "")
    ini = "[alembic]\nscript_location = shop_of_packages:migrations\nprepend_sys_path = .\n"
    inside = "home/shop_of_packages/migrations"
    project.write("alembic.ini", ini)
    project.write("home/alembic.ini", ini)
    project.write(f"{inside}/env.py", SYNC_ENV)
    project.revision("one", ITEM, folder=f"{inside}/versions")
    assert applied(migrate(Alembic(project.root / "home/alembic.ini"))) == {"one"}
    monkeypatch.syspath_prepend(project.root / "home")
    assert applied(migrate(Alembic(project.root / "alembic.ini"))) == {"one"}


@pytest.mark.parametrize("env", [SYNC_ENV, ASYNC_ENV], ids=["sync", "async"])
@pytest.mark.parametrize("driver", [None, "asyncpg", "psycopg", "psycopg2", "pg8000"])
def test_every_driver(
    project: Project, prefix: str, server: Server, env: str, driver: str | None
) -> None:
    """The URL is given to env.py with a driver that it can use, whichever the user configured."""
    # A sync env.py that speaks of asyncpg is still a sync one.
    project.alembic(env + "# url.replace('+asyncpg', '')\n")
    project.revision("one", "print(op.get_bind().engine.url.drivername)\nraise ArithmeticError")
    name = database_names.scratch(prefix, RUN)
    server.create(name, Mark("scratch", RUN))
    url = _urls.for_driver(server.url.set(database=name), driver)
    with pytest.raises(MigrationError, match="ArithmeticError") as caught:
        Alembic(project.root / "alembic.ini").migrate(Target(url, 60))
    used = re.findall(r"^postgresql\+(\w+)$", caught.value.message, re.MULTILINE)[0]
    known = drivers.ASYNC_DRIVERS if env is ASYNC_ENV else drivers.SYNC_DRIVERS
    assert used == driver if driver in known else used in known


OWN = load_program("migrations/own.py")


def test_a_class_of_ones_own(project: Project) -> None:
    """Anything with the two methods will do, and nothing else needs to be there."""
    project.ini(pg_timeout=60)
    project.write("conftest.py", OWN)
    project.write("test_it.py", TESTS)
    project.run().assert_outcomes(passed=4)
    first = project.databases()
    project.write("conftest.py", OWN.replace('b"1"', 'b"2"'))
    project.run().assert_outcomes(passed=4)
    assert len(project.databases()) == 2 == len(first) + 1


CHANGES = """
if os.path.exists("changing"):
    open(__file__, "a").write("# changed\\n")
"""


def test_files_that_change_during_a_build(project: Project) -> None:
    """As when another branch is checked out. Nobody knows which of them Alembic has read."""
    project.alembic()
    project.revision("one", CHANGES + ITEM)
    project.write("test_it.py", TESTS)
    project.write("changing", "")

    result = project.run()
    result.assert_outcomes(passed=1, errors=1, skipped=2)
    result.stdout.fnmatch_lines(["files that determine template * were changed while it was *"])
    assert project.databases() == []

    (project.root / "changing").unlink()
    project.run().assert_outcomes(passed=4)
