"""Extensions that bring tables, rows, triggers and processes of their own, as Debian has them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate._server import Server
from support.projects import Project, make_project, query
from support.servers import private_server, system_bindir

PRELOADED = ("pg_cron", "pgaudit")


@pytest.fixture(scope="module")
def url() -> Iterator[URL]:
    """A server with what has to be loaded when it starts, as far as it is there."""
    bindir = system_bindir()
    there = [name for name in PRELOADED if (bindir.parent / "lib" / f"{name}.so").exists()]
    options = {"shared_preload_libraries": ",".join(there), "max_prepared_transactions": 20}
    with private_server(bindir, **options) as url:
        yield url


@pytest.fixture
def with_extensions(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, url: URL
) -> Iterator[Project]:
    server = Server(url, timeout=60)
    for project in make_project(pytester, monkeypatch, server, url):
        project.alembic()
        yield project
    server.close()


def need(url: URL, *names: str) -> None:
    there = {row["name"] for row in query(url, "SELECT name FROM pg_available_extensions")}
    if missing := set(names) - there:
        pytest.skip(f"not installed here: {', '.join(missing)}")


TESTS = """
import pytest
from sqlalchemy import text

BASELINE = {baseline!r}

@pytest.mark.parametrize("attempt", ["first", "second"])
def test_everything_comes_back(pg_sync_session, attempt):
    assert pg_sync_session.execute(text(BASELINE)).one() == {expected!r}
    for statement in {statements!r}:
        pg_sync_session.execute(text(statement))
    pg_sync_session.commit()
    assert pg_sync_session.execute(text(BASELINE)).one() != {expected!r}
"""


def write(
    project: Project, migration: str, baseline: str, expected: tuple[object, ...], *statements: str
) -> None:
    lines = (f"op.execute({statement.strip()!r})" for statement in migration.split(";"))
    project.revision("one", "\n".join(lines))
    text = TESTS.format(baseline=baseline, expected=expected, statements=statements)
    project.write("test_it.py", text)


def test_postgis_and_its_reference_systems(with_extensions: Project, url: URL) -> None:
    need(url, "postgis")
    write(
        with_extensions,
        "CREATE EXTENSION postgis;"
        "CREATE TABLE place (id serial, at geometry(Point, 4326));"
        "CREATE INDEX ON place USING gist (at)",
        "SELECT (SELECT count(*) > 8000 FROM spatial_ref_sys), (SELECT count(*) FROM place)",
        (True, 0),
        "INSERT INTO place (at) VALUES (ST_SetSRID(ST_MakePoint(1, 2), 4326))",
        "DELETE FROM spatial_ref_sys WHERE srid > 4326",
    )
    result = with_extensions.run()
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*re-cloned*")


def test_pg_partman_and_its_settings(with_extensions: Project, url: URL) -> None:
    need(url, "pg_partman")
    write(
        with_extensions,
        "CREATE SCHEMA partman; CREATE EXTENSION pg_partman SCHEMA partman;"
        "CREATE TABLE event (id bigint NOT NULL, at timestamptz NOT NULL) PARTITION BY RANGE (at);"
        "SELECT partman.create_parent('public.event', 'at', 'native', 'daily')",
        "SELECT (SELECT count(*) FROM event), (SELECT premake FROM partman.part_config)",
        (0, 4),
        "INSERT INTO event VALUES (1, now()), (2, now() + interval '1 day')",
        "UPDATE partman.part_config SET premake = 9",
    )
    result = with_extensions.run()
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*re-cloned*")


def test_pgaudit_and_pg_cron_which_are_always_there(with_extensions: Project, url: URL) -> None:
    need(url, "pgaudit", "pg_cron")
    write(
        with_extensions,
        "CREATE EXTENSION pgaudit; CREATE TABLE item (id int)",
        "SELECT (SELECT count(*) FROM item), to_regclass('other')::oid::int",
        (0, None),
        "SET pgaudit.log = 'all'",
        "INSERT INTO item VALUES (1)",
        "CREATE TABLE other (id int)",
    )
    result = with_extensions.run()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["  re-cloned after *schema changed*"])
