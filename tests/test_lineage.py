"""A new revision costs one revision: a template starts from the nearest one that is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import Alembic, Migrations, SqlFiles, Target
from pytest_pgtemplate._reset import install, uninstall
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._template import template as _template
from pytest_pgtemplate._template.lineage import Lineage, Revision
from pytest_pgtemplate._template.migrations import migrate
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import WorkerDatabase
from support.databases import EVERYTHING, pg_dump
from support.databases import bindir_of as _bindir_of
from support.kinds import Kind, server_as, url_of
from support.projects import COUNTED, ITEM, Project, query, unique

TIMEOUT = 60.0


# What is on top of what


def lineage(**down_revisions: str) -> Lineage:
    return Lineage((), {k: Revision(frozenset(v.split()), b"") for k, v in down_revisions.items()})


@pytest.mark.parametrize(
    ("wanted", "heads", "on_top"),
    [
        (lineage(a="", b="a"), "a", True),
        (lineage(a="", b="a", c="b", d="c"), "b", True),
        (lineage(a="", b="a", c="a"), "b", False),  # a new branch
        (lineage(a="", b="a", c=""), "b", False),  # a new base
        (lineage(a="", b="a", c="a"), "a", False),  # which of them runs first?
        (lineage(a="", b="a", c="a", m="b c"), "a", False),
        (lineage(a="", b="a", c="a", m="b c"), "b c", True),  # a merge
        (lineage(a="", b=""), "", False),
        (lineage(a="", b="", c="a"), "a b", False),  # might run before b
        (lineage(a="", b="", c="a b", d="c"), "a b", True),
    ],
)
def test_what_is_on_top(wanted: Lineage, heads: str, *, on_top: bool) -> None:
    assert wanted.is_on_top_of(wanted.including_ancestors(heads.split())) == on_top


def test_unknown_heads_have_no_ancestors() -> None:
    assert lineage(a="").including_ancestors(["a", "elsewhere"]) == frozenset()


# Which template is the nearest


class Templates:
    """The templates of one prefix, built as in a run but for the work itself."""

    def __init__(self, server: Server, prefix: str, locks: Path) -> None:
        self.server, self.prefix, self.locks = server, prefix, locks

    def template_request(
        self, migrations: Migrations, base: bytes = b""
    ) -> _template.TemplateRequest:
        fingerprint = _template.compute_fingerprint([base, *migrations.fingerprint()], self.server)
        return _template.TemplateRequest(
            self.prefix, "0a1b2c3d", fingerprint, rebuild=False,
            lineage=lambda: _template.read_lineage(migrations, [base], self.locks, TIMEOUT),
        )  # fmt: skip

    def build(self, template_request: _template.TemplateRequest) -> _template.ScratchDatabase:
        """Build what is not there yet, and say what it started from."""
        built: list[_template.ScratchDatabase] = []
        _template.ensure_template(template_request, built.append, self.server, self.locks)
        return built[-1]

    def applied(self, migrations: Migrations, base: bytes = b"") -> set[str]:
        """The revisions that the next template has from the one it starts from."""
        origin = self.build(self.template_request(migrations, base)).origin
        return set(origin.applied) if origin else set()


@pytest.fixture
def templates(server: Server, prefix: str, tmp_path: Path) -> Templates:
    return Templates(server, prefix, tmp_path)


@pytest.fixture
def alembic(project: Project, templates: Templates) -> Alembic:
    """A template of two revisions is there; a third one has been added."""
    project.alembic()
    project.revision("one")
    project.revision("two")
    alembic = Alembic(project.root / "alembic.ini")
    assert templates.applied(alembic) == set()
    project.revision("three")
    return alembic


def test_a_revision_on_top_starts_from_the_one_below(
    alembic: Alembic, templates: Templates, project: Project
) -> None:
    """And the next one from the nearest; the mark says which."""
    assert templates.applied(alembic) == {"one", "two"}
    third = templates.template_request(alembic).name
    project.revision("four")
    project.revision("five", needs="one")
    assert templates.applied(alembic) == {"one", "two", "three"}
    found = templates.server.find(templates.template_request(alembic).name)
    assert found is not None
    assert found.mark is not None
    assert (found.mark.origin, found.mark.heads) == (third, ("five",))


def edit(path: str) -> Callable[[Project], object]:
    def change(project: Project) -> None:
        (project.root / path).parent.mkdir(exist_ok=True)
        with (project.root / path).open("a") as file:
            file.write("\n# changed")

    return change


@pytest.mark.parametrize(
    "change",
    [
        edit("migrations/versions/one.py"),
        edit("migrations/env.py"),
        edit("migrations/helpers.py"),
        edit("migrations/versions/data.sql"),
        edit("migrations/versions/archive/old.py"),
        edit("alembic.ini"),
        lambda project: (project.root / "migrations/versions/one.py").rename(
            project.root / "migrations/versions/eins.py"
        ),
        lambda project: project.revision("branch", down="one"),
        lambda project: project.revision("base", down=None),
        lambda project: project.revision("between", down="one", needs="two"),
        lambda project: project.revision("four", needs="a_label"),
        lambda project: project.revision("four", down="three", folder="migrations/versions/twice"),
    ],
    ids=[
        "a revision", "env.py", "a helper", "a file beside the revisions", "a file below them",
        "the configuration", "a name", "a branch", "a second base", "two heads", "a label",
        "a folder that Alembic does not look into",
    ],
)  # fmt: skip
def test_from_nothing_when_more_than_the_top_is_new(
    alembic: Alembic, templates: Templates, project: Project, change: Callable[[Project], object]
) -> None:
    change(project)
    assert templates.applied(alembic) == set()


def test_a_removed_revision_or_another_target_is_built_from_nothing(
    alembic: Alembic, templates: Templates, project: Project
) -> None:
    assert templates.applied(Alembic(alembic.config, "three")) == set()
    assert templates.applied(alembic, b"another fingerprint file") == set()
    (project.root / "migrations/versions/two.py").unlink()
    project.revision("three", down="one")
    assert templates.applied(alembic) == set()


def test_from_nothing_for_rebuild(alembic: Alembic, templates: Templates) -> None:
    template_request = templates.template_request(alembic)._replace(rebuild=True)
    assert templates.build(template_request).origin is None


class WithViews(Alembic):
    """A subclass may add to the schema, so its lineage alone does not describe it."""


def test_from_nothing_for_kinds_of_the_users_own(alembic: Alembic, templates: Templates) -> None:
    assert templates.applied(WithViews(alembic.config)) == set()


def test_recursive_version_locations_are_read(
    alembic: Alembic, templates: Templates, project: Project
) -> None:
    with alembic.config.open("a") as ini:
        ini.write("recursive_version_locations = true\n")
    assert templates.applied(alembic) == set()
    project.revision("four", folder="migrations/versions/2026")
    assert templates.applied(alembic) == {"one", "two", "three"}


def test_another_project_is_no_start(alembic: Alembic, templates: Templates, prefix: str) -> None:
    templates.prefix = f"{prefix}_other"
    assert templates.applied(alembic) == set()


def test_sql_files_that_are_appended(templates: Templates, tmp_path: Path) -> None:
    files = []
    for number in range(4):
        files.append(tmp_path / f"{number}.sql")
        files[-1].write_text(f"SELECT {number}")
    first, second, third, fourth = files
    assert templates.applied(SqlFiles(first, second)) == set()
    assert templates.applied(SqlFiles(first, second, third)) == {"0", "1"}
    assert templates.applied(SqlFiles(first, second, third, fourth)) == {"0", "1", "2"}
    assert templates.applied(SqlFiles(fourth, first, second, third)) == set()
    assert templates.applied(SqlFiles(first, third, second)) == set()
    second.write_text("SELECT 'changed'")
    assert templates.applied(SqlFiles(first, second, third)) == set()


# What comes of it

MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+00"  # when the migrations ran
SECOND = """
CREATE TABLE added (id serial PRIMARY KEY, name text NOT NULL);
CREATE INDEX ON added (name);
INSERT INTO added (name) VALUES ('first'), ('second');
DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET statement_timeout = ''77s''', current_database());
END
$$;
"""


@pytest.fixture
def root(kind: Kind, request: pytest.FixtureRequest) -> URL:
    return url_of(request, kind.server)


@pytest.fixture
def of_kind(kind: Kind, root: URL) -> Iterator[Server]:
    with server_as(root, kind.role) as server:
        yield server


@pytest.mark.full("values")
def test_both_ways_give_the_same(kind: Kind, of_kind: Server, root: URL, tmp_path: Path) -> None:
    """By PostgreSQL's own dump, also after a reset; with everything that a schema can hold."""
    bindir = _bindir_of(of_kind)
    if bindir is None:
        pytest.skip("no pg_dump of this server's version")
    prefix = unique("t")
    templates = Templates(of_kind, prefix, tmp_path)
    files = [tmp_path / "1.sql", tmp_path / "2.sql"]
    files[0].write_text(EVERYTHING)
    files[1].write_text(SECOND)
    try:
        build(templates, SqlFiles(files[0]), kind.tracking, "0 1")
        nearest_origin = build(templates, SqlFiles(*files), kind.tracking, "1 2")
        templates.prefix = f"{prefix}_nothing"
        nothing = build(templates, SqlFiles(*files), kind.tracking, "0 2")
        dumps = [dumped(of_kind, each, root, bindir) for each in (nothing, nearest_origin)]
        first, second = ([re.sub(MOMENT, "now", line) for line in dump] for dump in dumps)
        assert second == first
        found = of_kind.find(nearest_origin.name)
        assert found is not None
        assert found.mark is not None
        assert found.mark.settings == (("statement_timeout", "77s"),)
    finally:
        for database in of_kind.databases():
            if database.name.startswith(f"{prefix}_"):
                of_kind.drop(database.name)


def build(
    templates: Templates, migrations: SqlFiles, tracking: str, numbers: str
) -> _template.Template:
    """As a run does it. ``numbers``: how many files were there, and how many there are."""
    had, has = map(int, numbers.split())

    def work(scratch: _template.ScratchDatabase) -> str | None:
        url = templates.server.url.set(database=scratch.name)
        if scratch.origin:
            uninstall(url, tracking, scratch.origin.mark.state, timeout=TIMEOUT)
        applied = scratch.origin.applied if scratch.origin else frozenset()
        ran = migrate(migrations, Target(url, TIMEOUT, applied=applied))
        assert ran == f"{has - had} of {has} files"
        return install(url, tracking, timeout=TIMEOUT)

    return _template.ensure_template(
        templates.template_request(migrations), work, templates.server, templates.locks
    )


def dumped(server: Server, template: _template.Template, root: URL, bindir: Path) -> list[str]:
    """What a worker's database holds, when it is new and when it was reset."""
    worker = WorkerDatabase(
        server, template, database_names.worker(template.name[:20], "0a1b2c3d", "main"), "run"
    )
    try:
        url = root.set(database=worker.database.name)
        dump = pg_dump(url, bindir)
        query(
            worker.database.url,
            "WITH gone AS (DELETE FROM added RETURNING id)"
            " INSERT INTO added (name) SELECT 'of a test' FROM gone",
        )
        assert pg_dump(url, bindir) != dump
        assert worker.reset().reclone_reason is None
        assert pg_dump(url, bindir) == dump
        return dump
    finally:
        worker.close()


def test_a_long_line_of_templates_does_not_grow(
    server: Server, prefix: str, tmp_path: Path
) -> None:
    """Each starts from the one before it, and takes up no more than one built from nothing."""
    templates = Templates(server, prefix, tmp_path)
    files: list[Path] = []
    size = 0
    for number in range(6):
        files.append(tmp_path / f"{number}.sql")
        files[-1].write_text(f"CREATE TABLE table_{number} (id int PRIMARY KEY, name text)")
        last = build(templates, SqlFiles(*files), "triggers", f"{number} {number + 1}")
    [(size,)] = query(server.url, "SELECT pg_database_size($1::text)", last.name)
    templates.prefix = f"{prefix}_nothing"
    nothing = build(templates, SqlFiles(*files), "triggers", f"0 {len(files)}")
    [(least,)] = query(server.url, "SELECT pg_database_size($1::text)", nothing.name)
    assert size < 1.05 * least


# In whole runs

TESTS = """
from sqlalchemy import text

def test_rows(pg_sync_session):
    names = pg_sync_session.scalars(text("SELECT name FROM item ORDER BY id")).all()
    assert names == {names}
"""
SEED = """
import asyncpg, pytest

async def seed(url):
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    await connection.execute("INSERT INTO item (name) VALUES ('{seeded}')")
    await connection.close()

@pytest.fixture(scope="session")
def pg_seed():
    return seed
"""


def test_a_run_migrates_what_is_new(project: Project) -> None:
    """And --pg-rebuild everything."""
    project.alembic()
    project.revision("one", ITEM + COUNTED)
    project.write("test_it.py", TESTS.format(names=["reference"]))
    output = project.run().stdout.str()
    assert re.search(r"migrated 1 of 1 revisions in [\d.]+ s", output)

    project.revision("two", "op.execute(\"INSERT INTO item (name) VALUES ('two')\")" + COUNTED)
    project.write("test_it.py", TESTS.format(names=["reference", "two"]))
    result = project.run()
    result.assert_outcomes(passed=1)
    assert re.search(r"migrated 1 of 2 revisions in [\d.]+ s", result.stdout.str())
    assert project.migrations() == 2

    result = project.run("--pg-rebuild")
    result.assert_outcomes(passed=1)
    assert "migrated 2 of 2 revisions" in result.stdout.str()


@pytest.mark.full
def test_a_seed_is_applied_to_what_was_migrated(project: Project) -> None:
    """Another seed migrates nothing; a new revision runs before the seed, and only that."""
    project.alembic()
    project.revision("one", ITEM + COUNTED)
    project.write("conftest.py", SEED.format(seeded="seeded"))
    project.write("test_it.py", TESTS.format(names=["reference", "seeded"]))
    project.run().assert_outcomes(passed=1)

    project.write("conftest.py", SEED.format(seeded="other"))
    project.write("test_it.py", TESTS.format(names=["reference", "other"]))
    result = project.run()
    result.assert_outcomes(passed=1)
    assert " seeded in " in result.stdout.str()
    assert project.migrations() == 1

    project.revision("two", "op.execute(\"INSERT INTO item (name) VALUES ('two')\")" + COUNTED)
    project.write("test_it.py", TESTS.format(names=["reference", "two", "other"]))
    result = project.run()
    result.assert_outcomes(passed=1)
    assert "migrated 1 of 2 revisions" in result.stdout.str()
    assert project.migrations() == 2

    project.run("--pg-rebuild").assert_outcomes(passed=1)
    assert project.migrations() == 4
