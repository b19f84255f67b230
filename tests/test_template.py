"""The template: its fingerprint identifies the schema, and it is built exactly once."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytest_pgtemplate import Alembic
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._template import template as _template
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import ConfigurationError, MigrationError, TemplateError
from support.projects import COUNTED, ITEM, TESTS, Project, query

RUN = "0a1b2c3d"
RUNS = 4


@pytest.fixture
def shop(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM + COUNTED)
    project.write("test_it.py", TESTS)
    return project


# The fingerprint


@pytest.fixture
def fingerprint(shop: Project) -> Callable[..., str]:
    def fingerprint(revision: str = "heads", config: str = "alembic.ini") -> str:
        migrations = Alembic(shop.root / config, revision)
        return _template.compute_fingerprint(migrations.fingerprint(), shop.server)

    return fingerprint


def test_a_fingerprint_is_stable(fingerprint: Callable[..., str]) -> None:
    assert fingerprint() == fingerprint()
    assert fingerprint() != fingerprint(revision="one")


@pytest.mark.parametrize(
    "path",
    [
        "migrations/versions/one.py",
        "migrations/env.py",
        "alembic.ini",
        "migrations/versions/two.py",
        "migrations/versions/inner/data.sql",
        "migrations/helpers.py",
    ],
)
def test_every_byte_of_a_migration_changes_the_fingerprint(
    shop: Project, fingerprint: Callable[..., str], path: str
) -> None:
    before = fingerprint()
    file = shop.root / path
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as text:
        text.write("#")
    assert fingerprint() != before


@pytest.mark.parametrize("link", ["versions", "versions/linked", "sql"])
def test_files_behind_a_symbolic_link_are_part_of_the_fingerprint(
    shop: Project, fingerprint: Callable[..., str], link: str
) -> None:
    """Alembic reads them, too. A link that leads back is no endless way."""
    place, elsewhere = shop.root / "migrations" / link, shop.root / "elsewhere"
    if place.exists():
        place.rename(elsewhere)
    else:
        elsewhere.mkdir()
    place.symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(shop.root / "migrations")
    (elsewhere / "more.sql").write_text("")
    before = fingerprint()

    (elsewhere / "more.sql").write_text("SELECT 1")

    assert fingerprint() != before


def test_a_renamed_file_changes_the_fingerprint(
    shop: Project, fingerprint: Callable[..., str]
) -> None:
    before = fingerprint()
    versions = shop.root / "migrations/versions"
    (versions / "one.py").rename(versions / "eins.py")
    assert fingerprint() != before


@pytest.mark.parametrize(
    "path",
    [
        "migrations/script.py.mako",
        "migrations/__pycache__/env.cpython-313.pyc",
        "migrations/versions/__pycache__/one.cpython-313.pyc",
        "elsewhere.py",
        "pyproject.toml",
    ],
)
def test_files_that_change_no_schema_do_not_change_the_fingerprint(
    shop: Project, fingerprint: Callable[..., str], path: str
) -> None:
    before = fingerprint()
    shop.write(path, "# new")
    assert fingerprint() == before


@pytest.mark.parametrize(
    ("options", "folders"),
    [
        ("path_separator = os\nversion_locations = a{os.pathsep}b", "a b"),
        ("path_separator = os\nversion_locations = %(here)s/a b{os.pathsep}%(here)s/c", "a b|c"),
        ("path_separator = space\nversion_locations = a b", "a|b"),
        ("path_separator = newline\nversion_locations =\n    a b\n    c", "a b|c"),
        ("version_path_separator = ;\nversion_locations = a b;c", "a b|c"),
        ("version_locations = a, b", "a|b"),
        ("path_separator = space\nversion_locations = inner.package:a", "inner/package/a"),
    ],
)
def test_every_version_location_is_part_of_the_fingerprint(
    shop: Project, fingerprint: Callable[..., str], options: str, folders: str
) -> None:
    """However Alembic's many separators part them: a revision overlooked is a stale template."""
    options = options.replace("{os.pathsep}", os.pathsep)
    shop.write("alembic.ini", f"[alembic]\nscript_location = migrations\n{options}\n")
    expected = folders.split("|") if "|" in folders or "/" in folders else folders.split()
    seen = [fingerprint()]
    for folder in expected:
        shop.write(f"{folder}/extra.py", "")
        seen.append(fingerprint())
    assert len(seen) > 1
    assert all(before != after for before, after in pairwise(seen))


def test_only_the_alembic_table_of_pyproject_is_part_of_the_fingerprint(
    shop: Project, fingerprint: Callable[..., str]
) -> None:
    table = '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'
    before = fingerprint()
    shop.write("pyproject.toml", table)
    both = fingerprint()
    assert both != before
    shop.write("pyproject.toml", f"[project]\nname = 'shop'\n{table}")
    assert fingerprint() == both == fingerprint(config="pyproject.toml")
    shop.write("pyproject.toml", f"{table}version_locations = ['extra']\n")
    assert fingerprint() != both


def test_a_fingerprint_needs_no_import(shop: Project, fingerprint: Callable[..., str]) -> None:
    shop.write("migrations/env.py", "1 / 0")
    shop.write("migrations/versions/two.py", "not even Python")
    assert fingerprint()


def test_an_unreadable_configuration_is_a_configuration_error(
    shop: Project, fingerprint: Callable[..., str]
) -> None:
    (shop.root / "alembic.ini").write_bytes(b"[alembic]\nscript_location = \xff\n")
    with pytest.raises(ConfigurationError, match=r"alembic\.ini"):
        fingerprint()


parts = st.lists(st.binary(max_size=4), max_size=4)


@given(parts, parts)
@example([b"ab", b"c"], [b"a", b"bc"])
@example([b""], [])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_different_parts_have_different_fingerprints(
    server: Server, first: list[bytes], second: list[bytes]
) -> None:
    """Also when they are the same bytes, parted elsewhere."""
    same = _template.compute_fingerprint(first, server) == _template.compute_fingerprint(
        second, server
    )
    assert same == (first == second)


# Built, or found


@pytest.fixture
def template_request(prefix: str) -> _template.TemplateRequest:
    return _template.TemplateRequest(prefix, RUN, "f" * 64, rebuild=False)


def never(scratch: _template.ScratchDatabase) -> None:
    pytest.fail(f"{scratch.request.name} was built")


def test_a_template_is_built_once_and_then_found(
    template_request: _template.TemplateRequest, server: Server, tmp_path: Path
) -> None:
    built: list[_template.ScratchDatabase] = []
    first = _template.ensure_template(template_request, built.append, server, tmp_path)
    assert first == _template.Template(
        template_request.name, template_request.fingerprint, built=True
    )
    second = _template.ensure_template(template_request, built.append, server, tmp_path)
    assert second == _template.Template(
        template_request.name, template_request.fingerprint, built=False
    )
    assert [each.name for each in built] == [database_names.scratch(template_request.prefix, RUN)]
    found = server.find(template_request.name)
    assert found is not None
    assert found.sealed


def test_an_existing_template_needs_no_lock(
    template_request: _template.TemplateRequest, server: Server, tmp_path: Path
) -> None:
    _template.ensure_template(template_request, lambda _: None, server, tmp_path)
    nowhere = tmp_path / "a file, not a directory"
    nowhere.touch()
    assert not _template.ensure_template(template_request, never, server, nowhere / "locks").built


def test_a_build_that_fails_leaves_nothing_and_can_be_tried_again(
    template_request: _template.TemplateRequest, server: Server, tmp_path: Path
) -> None:
    def fail(scratch: _template.ScratchDatabase) -> None:
        assert server.find(scratch.name) is not None
        raise MigrationError("no", hint="none")

    for _ in range(2):
        with pytest.raises(MigrationError):
            _template.ensure_template(template_request, fail, server, tmp_path)
        for name in (template_request.name, database_names.scratch(template_request.prefix, RUN)):
            assert server.find(name) is None
    assert _template.ensure_template(template_request, lambda _: None, server, tmp_path).built


def test_waiting_for_another_process_ends_after_the_timeout(
    template_request: _template.TemplateRequest, server: Server, tmp_path: Path
) -> None:
    impatient = Server(server.url, timeout=0.2)
    try:
        with (
            _template._file_lock(tmp_path / f"{template_request.name}.lock", 1),
            pytest.raises(TemplateError, match=template_request.name),
        ):
            _template.ensure_template(template_request, never, impatient, tmp_path)
    finally:
        impatient.close()


def test_a_template_that_another_host_is_building_is_not_built_again(
    template_request: _template.TemplateRequest, server: Server, tmp_path: Path
) -> None:
    """Hosts share no file lock. The other host waits for the server's lock, and looks again."""
    other = Server(server.url, timeout=60)
    [[pid]] = other._fetch("SELECT pg_backend_pid()")
    waits = f"SELECT FROM pg_locks WHERE pid = {pid} AND locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor() as pool:
        second: list[Future[_template.Template]] = []

        def build(scratch: _template.ScratchDatabase) -> None:
            arguments = (scratch.request, never, other, tmp_path / "other host")
            second.append(pool.submit(_template.ensure_template, *arguments))
            while not query(server.url, waits):
                assert not second[0].done()
                time.sleep(0.005)

        first = _template.ensure_template(template_request, build, server, tmp_path)
        assert (first.built, second[0].result(60).built) == (True, False)
    other.close()


# In whole runs


def test_fingerprint_files(shop: Project) -> None:
    shop.ini(pg_fingerprint_files="*.json 'more/*.sql'")
    paths = [shop.write("seed.json", "{}"), shop.write("more/a.sql", "")]
    names = set()
    shop.run().assert_outcomes(passed=4)
    names |= set(shop.databases())
    for path in paths:
        path.write_text("changed")
        shop.run("--collect-only")
        shop.run().assert_outcomes(passed=4)
        assert not names.issuperset(shop.databases())
        names |= set(shop.databases())
    assert shop.migrations() == len(names) == 3


def test_a_target_revision(shop: Project) -> None:
    """And the schema that an older revision has, is another template."""
    shop.revision("two", "op.execute('DROP TABLE item')")
    shop.ini(pg_revision="one")
    shop.run().assert_outcomes(passed=4)
    shop.ini(pg_revision="no_such_revision")
    result = shop.run()
    result.assert_outcomes(errors=1, skipped=2, passed=1)
    assert "no_such_revision" in str(result.stdout)
    assert len(shop.databases()) == 1


def test_runs_that_start_at_the_same_moment(shop: Project) -> None:
    """One of them migrates; all are green; the template is all that they leave."""
    log = shop.root / "runs.log"
    command = shop.command("-n2", "-q")
    with log.open("w") as output:
        runs = [
            subprocess.Popen(command, cwd=shop.root, stdout=output, stderr=output)
            for _ in range(RUNS)
        ]
        codes = [run.wait(120) for run in runs]
    assert codes == [0] * RUNS, log.read_text()
    assert shop.migrations() == 1
    assert [database_names.is_template(name) for name in shop.databases()] == [True]
    text = log.read_text()
    assert text.count(" migrated 1 of 1 revisions in ") == 1
    assert text.count(" reused") == RUNS - 1
