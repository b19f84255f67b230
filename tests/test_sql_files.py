"""SQL files: whatever PostgreSQL's own programs accept, and where an error is."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import Integer, MetaData, Table
from sqlalchemy.engine import URL
from sqlalchemy.schema import CheckConstraint, Column

from pytest_pgtemplate import Metadata, Migrations, SqlFiles, Target, _urls
from pytest_pgtemplate._server import Mark, Server
from pytest_pgtemplate._template import sql_scripts
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import MigrationError
from support.databases import EVERYTHING, bindir_of, pg_dump
from support.kinds import Kind, server_as, url_of
from support.projects import execute, query, unique

Migrate = Callable[[Migrations], URL]


@pytest.fixture(params=["embedded", pytest.param("system", marks=pytest.mark.full)])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """PostgreSQL 18; in the long form also the system's version."""
    kind = Kind("triggers", "superuser", request.param)
    with server_as(url_of(request, kind.server), kind.role) as server:
        yield server


@pytest.fixture
def migrate(prefix: str, server: Server) -> Iterator[Migrate]:
    """Migrate an empty database, each time another one, and give its URL."""
    made: list[str] = []

    def migrate(migrations: Migrations) -> URL:
        name = database_names.scratch(prefix, f"{len(made):08x}")
        made.append(name)
        server.create(name, Mark("scratch", "0a1b2c3d"))
        url = server.url.set(database=name)
        migrations.migrate(Target(url, 60))
        return url

    yield migrate
    for name in made:
        server.drop(name)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], SqlFiles]:
    def write(text: str) -> SqlFiles:
        file = tmp_path / "schema.sql"
        file.write_text(text, "utf-8")
        return SqlFiles(file)

    return write


# The output of pg_dump


def dumped(url: URL, bindir: Path) -> str:
    """As it is written to a file, with the rows as COPY."""
    command = [str(bindir / "pg_dump"), "-d", str(_urls.dsn(url))]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_dump_builds_the_same_database(
    migrate: Migrate, write: Callable[[str], SqlFiles], server: Server
) -> None:
    """With everything that a schema can hold, and its rows."""
    bindir = bindir_of(server)
    assert bindir is not None
    first = migrate(write(EVERYTHING))
    dump = dumped(first, bindir)
    assert "COPY " in dump
    second = migrate(write(dump))
    assert pg_dump(second, bindir) == pg_dump(first, bindir)


@pytest.mark.parametrize(
    "text",
    [
        "\\restrict abc\nCREATE TABLE t ();\n\\unrestrict abc\n",
        "CREATE TABLE t (id int);\nCOPY t FROM stdin;\n1\n2\n\\.\n",
        "CREATE TABLE t (id int, name text);\nCOPY t FROM stdin WITH (FORMAT csv);\n1,x\n\\.\n",
        "\\set name t\nCREATE TABLE :name ();\n",
        "SELECT 'CREATE TABLE t ()' \\gexec\n",
        "  \\echo 'of psql'\nCREATE TABLE t ();",
        "\\if true\nCREATE TABLE t ();\n\\else\nSELECT 1/0;\n\\endif\n",
        # And what only looks like it.
        "CREATE TABLE t ();\nCOMMENT ON TABLE t IS E'\n\\\\ not of psql';",
        "CREATE TABLE t (); SELECT E'\\'', $$\n\\d\n$$;",
        "-- \\restrict\nCREATE TABLE t ();",
        "\\echo psql\nCREATE TABLE t (); -- run it after \\c shop\n",
        "SELECT 1; -- \\connect other\n\\echo psql\nCREATE TABLE t ();\n",
    ],
)  # fmt: skip
def test_commands_of_psql(migrate: Migrate, write: Callable[[str], SqlFiles], text: str) -> None:
    assert query(migrate(write(text)), "SELECT to_regclass('t') IS NOT NULL")[0][0]


LATIN1 = "CREATE TABLE t (name text);\nINSERT INTO t VALUES ('caf\u00e9');\n"


@pytest.mark.parametrize("first", ["", "\\echo psql\n"], ids=["own connection", "psql"])
def test_a_byte_order_mark_is_no_part_of_the_script(
    migrate: Migrate, write: Callable[[str], SqlFiles], first: str
) -> None:
    url = migrate(write(f"\ufeff{first}{LATIN1}"))
    assert query(url, "SELECT name FROM t")[0][0] == "caf\u00e9"


@pytest.mark.parametrize("declared", ["SET client_encoding = 'LATIN1';", "\\encoding LATIN1"])
def test_a_script_may_declare_its_encoding(migrate: Migrate, tmp_path: Path, declared: str) -> None:
    """As pg_dump --encoding does. The file may also be included."""
    inner, outer = tmp_path / "inner.sql", tmp_path / "outer.sql"
    inner.write_text(f"{declared}\n{LATIN1}", "latin-1")
    outer.write_text("\\ir inner.sql\n")
    for file in (inner, outer):
        url = migrate(SqlFiles(file))
        assert query(url, "SELECT name FROM t")[0][0] == "caf\u00e9"


@pytest.mark.parametrize("first", ["", "\\echo psql\n"], ids=["own connection", "psql"])
def test_a_file_that_is_not_utf_8_is_an_error_with_a_line(
    migrate: Migrate, tmp_path: Path, first: str
) -> None:
    file = tmp_path / "schema.sql"
    file.write_text(first + LATIN1, "latin-1")
    line = 3 if first else 2
    with pytest.raises(MigrationError, match=rf"schema\.sql:{line}: .*UTF-8") as caught:
        migrate(SqlFiles(file))
    assert "client_encoding" in caught.value.hint


def test_an_included_file_belongs_to_the_fingerprint(migrate: Migrate, tmp_path: Path) -> None:
    inner, outer = tmp_path / "tables" / "t.sql", tmp_path / "all.sql"
    inner.parent.mkdir()
    inner.write_text("CREATE TABLE t ();")
    outer.write_text("\\ir tables/t.sql\n")
    files = SqlFiles(outer)
    assert query(migrate(files), "SELECT to_regclass('t') IS NOT NULL")[0][0]
    before, lineage = list(files.fingerprint()), files.lineage()
    inner.write_text("CREATE TABLE t (id int);")
    assert list(files.fingerprint()) != before
    assert files.lineage() != lineage
    assert inner in dict(files.contents())


@pytest.mark.parametrize(
    ("command", "where"),
    [
        ("\\copy t FROM 'my data.csv' CSV", "my data.csv"),
        ("CREATE TABLE u (); \\COPY t (id) from data.csv with (format csv)", "data.csv"),
        ("\\lo_import data.csv 'a comment'", "data.csv"),
    ],
)
def test_a_file_with_data_belongs_to_the_fingerprint(
    migrate: Migrate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, where: str
) -> None:
    """psql looks for it in the working directory, also if an included file names it."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / where
    data.write_text("1\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner.sql").write_text(f"CREATE TABLE t (id int);\n{command}\n")
    (tmp_path / "schema.sql").write_text("\\ir folder/inner.sql\n")
    files = SqlFiles("schema.sql")
    migrate(files)
    before = list(files.fingerprint())
    data.write_text("2\n")
    assert list(files.fingerprint()) != before
    assert data in {path.absolute() for path, _ in files.contents()}


def test_a_file_stays_in_the_template(migrate: Migrate, write: Callable[[str], SqlFiles]) -> None:
    """What pg_dump --create writes would go on in another database."""
    with pytest.raises(MigrationError, match=r"schema\.sql:2: .connect") as caught:
        migrate(write("CREATE TABLE t ();\n\\connect postgres\nCREATE TABLE elsewhere ();\n"))
    assert "--create" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "included"),
    [
        ("CREATE TABLE t (); \\c postgres\nCREATE TABLE elsewhere ();\n", ""),
        ("SELECT '--'; \\c postgres\nCREATE TABLE elsewhere ();\n", ""),
        ("/*\n-- */ \\c postgres\nCREATE TABLE elsewhere ();\n", ""),
        ("\\ir inner.sql\n", "CREATE TABLE t ();\n\\connect postgres\n"),
        ("SELECT 1; \\ir inner.sql\n", "CREATE TABLE t (); \\connect postgres\n"),
        ("\\set name inner.sql\n\\ir :name\n", "CREATE TABLE t ();\n\\connect postgres\n"),
    ],
    ids=[
        "in a line",
        "after a string",
        "after a comment",
        "in an included file",
        "in a line of both",
        "in a file that a variable names",
    ],
)
def test_a_script_that_connects_elsewhere_fails(
    migrate: Migrate,
    write: Callable[[str], SqlFiles],
    tmp_path: Path,
    text: str,
    included: str,
) -> None:
    files = write(text)
    (tmp_path / "inner.sql").write_text(included, "utf-8")
    with pytest.raises(MigrationError, match=r"connect leaves|connected to another database"):
        migrate(files)


@pytest.mark.parametrize(
    "text",
    [
        r"SELECT 'Fran\c{c}ois', E'it\'s \c x', "  # one string after the other
        r'$$ \connect x $$ AS "a \c b"; -- \c x',
        "CREATE TABLE t (name text);\nCOPY t FROM stdin;\nit's \\\\c\n\\.\nSELECT 'a';",
        "/* of \\connect:\n \\c x */ SELECT 1;",
    ],
    ids=["strings", "rows", "comment"],
)
def test_what_only_looks_like_a_connect(
    migrate: Migrate, write: Callable[[str], SqlFiles], text: str
) -> None:
    migrate(write(f"\\echo psql\n{text}\n"))


def test_a_file_may_name_itself_in_a_comment(
    migrate: Migrate, write: Callable[[str], SqlFiles], tmp_path: Path
) -> None:
    files = write(f"-- Usage: \\i {tmp_path / 'schema.sql'}\nCREATE TABLE t ();\n")
    fingerprint = list(files.fingerprint())
    migrate(files)
    write(f"-- Usage: \\i {tmp_path / 'schema.sql'}\nCREATE TABLE u ();\n")
    assert list(files.fingerprint()) != fingerprint


@pytest.mark.parametrize("text", ["", "-- later", "/* later */\n;\n-- or\n"])
def test_a_file_without_a_statement(
    migrate: Migrate, write: Callable[[str], SqlFiles], text: str
) -> None:
    migrate(write(text))


def test_a_file_that_leaves_its_transaction_open(
    migrate: Migrate, write: Callable[[str], SqlFiles]
) -> None:
    with pytest.raises(MigrationError, match=r"schema\.sql leaves its transaction open") as caught:
        migrate(write("BEGIN;\nCREATE TABLE t ();\n"))
    assert "COMMIT" in caught.value.hint
    migrate(write("BEGIN;\nCREATE TABLE t ();\nCOMMIT;\n"))


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_a_file_that_ends_too_early_is_an_error_with_a_line(
    migrate: Migrate, write: Callable[[str], SqlFiles], end: str
) -> None:
    with pytest.raises(MigrationError, match=r"schema\.sql.*end of input"):
        migrate(write(f"CREATE TABLE t ();\nCREATE TABLE u (id int,{end}"))


def test_without_psql_the_error_names_the_line(
    migrate: Migrate, write: Callable[[str], SqlFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_scripts, "_find_psql", lambda _: None)
    with pytest.raises(MigrationError, match=r"schema\.sql:3: .* psql") as caught:
        migrate(write("CREATE TABLE t (id int);\nCOPY t FROM stdin;\n\\.\n"))
    assert "client programs" in caught.value.hint


def test_a_file_is_one_transaction_for_psql_too(
    migrate: Migrate, write: Callable[[str], SqlFiles], server: Server, prefix: str
) -> None:
    with pytest.raises(MigrationError):
        migrate(write("\\echo x\nCREATE TABLE kept ();\nSELECT 1/0;\n"))
    name = database_names.scratch(prefix, f"{0:08x}")
    [(kept,)] = query(server.url.set(database=name), "SELECT to_regclass('kept')")
    assert kept is None


# Where an error is


class ScriptError(NamedTuple):
    text: str
    line: int | None  # with one line before it; None: that of the function's end or of its error
    sqlstate: str


@pytest.mark.parametrize("first", ["", "\\echo psql"], ids=["own connection", "psql"])
@pytest.mark.parametrize(
    "error",
    list(map(ScriptError._make, [
        ("CREATE TABLE t ();\n\nCREATE TABEL x ();\n", 4, "42601"),
        ("SELECT 1;\nSELECT *\nFROM nothing;\nSELECT 2;\n", 4, "42P01"),
        ("CREATE TABLE t (id int PRIMARY KEY);\nINSERT INTO t VALUES (1);\n"
         "INSERT INTO t VALUES (1);\nSELECT 1;\n", 4, "23505"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN;\nEND;\n$$;\n", None,
         "42601"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n  RETURN 1/0;\nEND;\n"
         "$$;\n-- a comment; of two parts\n/* and\n one; more */ SELECT f();\n", 9, "22012"),
        ("SELECT 'a;\nb';\nSELECT 1/0;\n", 4, "22012"),
        ("BEGIN;\nCREATE TABLE t ();\nCREATE TABLE t ();\nCOMMIT;\n", 4, "42P07"),
        ("CREATE TABLE t ();\nDO $$ BEGIN RAISE 'no'; END $$;\n", 3, "P0001"),
        ("CREATE TABLE t ();\r\nSELECT 1;\r\n\r\nSELECT 1/0;\r\n", 5, "22012"),
    ])),
)  # fmt: skip
def test_an_error_has_its_line(
    migrate: Migrate, write: Callable[[str], SqlFiles], first: str, error: ScriptError
) -> None:
    """The line in which the statement begins; psql reports the one in which it ends."""
    with pytest.raises(MigrationError) as caught:
        migrate(write(f"{first}\n{error.text}"))
    assert error.sqlstate in caught.value.message
    found = re.search(r"schema\.sql:(\d+): (?!NOTICE|WARNING)", caught.value.message)
    assert found is not None
    if error.line is not None:
        assert abs(int(found[1]) - error.line) <= 1


def test_metadata_shows_the_line_that_fails(migrate: Migrate) -> None:
    metadata = MetaData()
    Table("t", metadata, Column("x", Integer, CheckConstraint("no_such_column > 0")))
    with pytest.raises(MigrationError, match=r"no_such_column > 0"):
        migrate(Metadata(metadata))


def test_a_role_that_is_there_already(
    migrate: Migrate, write: Callable[[str], SqlFiles], server: Server
) -> None:
    role = unique("role")
    for text in (f"CREATE ROLE {role};", f"\\echo x\nCREATE ROLE {role};"):
        try:
            migrate(write(text))
            with pytest.raises(MigrationError) as caught:
                migrate(write(text))
            assert "duplicate_object" in caught.value.hint
        finally:
            execute(server.url, f"DROP ROLE {role}")
