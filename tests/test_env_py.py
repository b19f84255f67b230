"""env.py and the configuration may be written in any way that works with Alembic's own command.

Where that is not so, the error says what to change.
"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

from support.kinds import KINDS
from support.programs import load_program
from support.projects import ASYNC_ENV, ITEM, SYNC_ENV, Project, execute, unique

TEST = """
from sqlalchemy import text

def test_rows(pg_sync_session):
    assert pg_sync_session.scalars(text("SELECT name FROM item")).all() == ["reference"]
"""
# The word is only in a comment and in a string.
SYNC_WITH_THE_WORD = '"""Not async."""\n# async is for later\n' + SYNC_ENV
# A sync application that has a name with the word, and an async one that has none.
SYNC_WITH_A_NAME = "import asyncio\nasync_later = True\n" + SYNC_ENV
ASYNC_WITHOUT_THE_WORD = load_program("env_py/async_without_the_word.py")
ENGINES = load_program("env_py/engines.py")


@pytest.fixture
def shop(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.write("test_it.py", TEST)
    return project


def failure(project: Project, *arguments: str) -> str:
    """What a run says that fails once, in its first test."""
    result = project.run(*arguments)
    result.assert_outcomes(errors=1)
    return result.stdout.str()


@pytest.mark.parametrize(
    "env",
    [SYNC_WITH_THE_WORD, SYNC_WITH_A_NAME, ASYNC_WITHOUT_THE_WORD, ASYNC_ENV, SYNC_ENV],
    ids=["comment", "name", "async without the word", "async", "sync"],
)
def test_the_driver_suits_env_py(shop: Project, env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write("lib/engines.py", ENGINES)
    monkeypatch.syspath_prepend(shop.root / "lib")
    shop.write("migrations/env.py", env)
    shop.run().assert_outcomes(passed=1)


def test_what_env_py_accepts_is_remembered(shop: Project) -> None:
    """The second build starts with the driver that the first one found out."""
    started = shop.root / "started"
    shop.write("migrations/env.py", f"open({str(started)!r}, 'a').write('x')\n{SYNC_WITH_A_NAME}")
    shop.run().assert_outcomes(passed=1)
    assert started.read_text() == "xx"
    shop.run("--pg-rebuild").assert_outcomes(passed=1)
    assert started.read_text() == "xxx"


# Before the first migration


@pytest.mark.parametrize(
    "first",
    [
        "config.get_section('orders', {})['url']",
        "import os; os.environ['NO_SUCH_VARIABLE']",
        "import no_such_module",
        "engine_from_config(config.get_section('orders', {}))",
        "raise RuntimeError('not configured')",
    ],
)
def test_an_error_before_configure_is_about_env_py(shop: Project, first: str) -> None:
    text = SYNC_ENV.replace("engine = engine", f"{first}\nengine = engine", 1)
    shop.write("migrations/env.py", text)
    output = failure(shop)
    assert "env.py failed before it called context.configure()" in output
    assert "correct the migration" not in output


def test_a_url_of_its_own_with_the_wrong_driver_is_about_env_py(shop: Project) -> None:
    """The application is async, and its env.py takes the same URL for a sync engine."""
    own = "__import__('sqlalchemy').create_engine(__import__('os').environ['DATABASE_URL'])"
    text = re.sub(r"engine_from_config\((.|\n)*?\n\)", own, SYNC_ENV)
    shop.write("migrations/env.py", text)
    shop.ini(pg_env="DATABASE_URL={url:asyncpg}")
    output = failure(shop)
    assert "env.py connects with a driver" in output
    assert "correct the migration" not in output
    shop.ini(pg_env="DATABASE_URL={url:psycopg}")
    shop.run().assert_outcomes(passed=1)


def test_a_fallback_to_sqlite_is_named(shop: Project) -> None:
    url = "__import__('os').environ.get('APP_URL', 'sqlite:///')"
    shop.write(
        "migrations/env.py",
        SYNC_ENV.replace(
            "config.get_section(config.config_ini_section, {})", f"{{'sqlalchemy.url': {url}}}"
        ),
    )
    output = failure(shop)
    assert "env.py connects to sqlite, not to the URL that the plugin passed" in output
    assert "pg_env" in output


@pytest.mark.parametrize(
    "query", ["?application_name=100%25", "?options=-c%20search_path%3Dpublic"]
)
def test_a_percent_sign_that_env_py_does_not_escape(
    shop: Project, query: str, server_url: str
) -> None:
    url = "config.get_main_option('sqlalchemy.url')"
    shop.write(
        "migrations/env.py",
        SYNC_ENV.replace(
            "engine = engine",
            f"config.set_main_option('sqlalchemy.url', {url})\nengine = engine",
            1,
        ),
    )
    joined = query if "?" not in server_url else query.replace("?", "&")
    output = failure(shop, "--pg-url", server_url + joined)
    assert "percent sign" in output
    assert "correct the migration" not in output


# In a migration


@pytest.mark.full("one")
@pytest.mark.parametrize(
    "project", [kind for kind in KINDS if kind.superuser], indirect=True, ids=str
)
def test_a_role_that_is_there_already(shop: Project) -> None:
    """Roles belong to the server: the second build fails, and the hint says how to write it."""
    role = unique("role")
    shop.revision("two", f'op.execute("CREATE ROLE {role}")')
    try:
        shop.run().assert_outcomes(passed=1)
        output = failure(shop, "--pg-rebuild")
        assert "42710" in output or "already exists" in output
        assert "duplicate_object" in output
    finally:
        execute(shop.server.url, f"DROP ROLE {role}")


@pytest.mark.full("one")
@pytest.mark.parametrize("project", KINDS, indirect=True, ids=str)
def test_a_search_path_decides_about_the_schema(shop: Project) -> None:
    """Also about that of the version table, as in Alembic's cookbook for tenants."""
    shop.alembic(
        SYNC_ENV.replace(
            "    context.configure(",
            "    connection.exec_driver_sql('CREATE SCHEMA app')\n"
            "    connection.exec_driver_sql('SET search_path TO app')\n"
            "    connection.commit()\n"
            "    context.configure(",
        )
    )
    shop.write("test_it.py", "def test_it(pg): ...\n")

    shop.run().assert_outcomes(passed=1)


@pytest.mark.full("one")
@pytest.mark.parametrize("project", KINDS, indirect=True, ids=str)
def test_a_version_table_with_a_quote(shop: Project) -> None:
    shop.write(
        "migrations/env.py",
        SYNC_ENV.replace(
            "(connection=connection", "(connection=connection, version_table='Joe\\'s \"own\"'"
        ),
    )
    shop.run().assert_outcomes(passed=1)


TROUBLESHOOTING = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
COMPARES = """
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData

{recipe}

def test_it(pg_sync_session):
    connection = pg_sync_session.connection()
    metadata = MetaData()
    metadata.reflect(connection)
    metadata.remove(metadata.tables["alembic_version"])
    options = {{"include_schemas": True{option}}}
    context = MigrationContext.configure(connection, opts=options)
    assert compare_metadata(context, metadata) == []
"""


@pytest.mark.full("values")
@pytest.mark.parametrize("project", KINDS, indirect=True, ids=str)
@pytest.mark.parametrize("documented", [True, False])
def test_the_plugins_schema_is_hidden_from_a_comparison_as_documented(
    shop: Project, documented: bool
) -> None:
    """With ``include_schemas``, by a filter in env.py, or with ``pg_tracking = scan``."""
    found = re.search(r"^    def include_name.*\n.*\n", TROUBLESHOOTING.read_text(), re.MULTILINE)
    assert found is not None
    option = ', "include_name": include_name' if documented else ""
    recipe = dedent(found[0]) if documented else ""
    shop.write("test_it.py", COMPARES.format(recipe=recipe, option=option))
    is_hidden = documented or shop.options["pg_tracking"] == "scan"
    shop.run().assert_outcomes(passed=int(is_hidden), failed=int(not is_hidden))


# Where the script location is


def ini(location: str, more: str = "") -> str:
    return f"[alembic]\nscript_location = {location}\npath_separator = os\n{more}"


def move_to_backend(project: Project) -> None:
    (project.root / "backend").mkdir()
    for name in ("migrations", "alembic.ini"):
        (project.root / name).rename(project.root / "backend" / name)


@pytest.mark.full("values")
@pytest.mark.parametrize("location", ["backend/migrations", "migrations", "%(here)s/migrations"])
@pytest.mark.parametrize("directory", ["", "backend", "tests"])
def test_a_script_location_is_found_from_where_alembic_may_run(
    shop: Project, monkeypatch: pytest.MonkeyPatch, location: str, directory: str
) -> None:
    """From the working directory, else from the rootdir, else beside the configuration."""
    move_to_backend(shop)
    shop.write("backend/alembic.ini", ini(location))
    (shop.root / "tests").mkdir()
    (shop.root / "test_it.py").rename(shop.root / "tests/test_it.py")
    shop.ini(pg_alembic_ini="backend/alembic.ini")
    monkeypatch.chdir(shop.root / directory)
    shop.run(str(shop.root / "tests")).assert_outcomes(passed=1)


def test_the_working_directory_is_what_matched(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For all else that is relative: prepend_sys_path, version_locations, files that are opened."""
    move_to_backend(shop)
    more = "prepend_sys_path = backend/lib\nversion_locations = backend/more\n"
    shop.write("backend/alembic.ini", ini("backend/migrations", more))
    shop.write("backend/lib/shop_library.py", "")
    shop.write("backend/migrations/env.py", "import shop_library\nopen('pytest.ini')\n" + SYNC_ENV)
    (shop.root / "backend/migrations/versions").rename(shop.root / "backend/more")
    shop.ini(pg_alembic_ini="backend/alembic.ini")
    (shop.root / "tests").mkdir()
    monkeypatch.chdir(shop.root / "tests")
    shop.run(str(shop.root)).assert_outcomes(passed=1)


def test_an_alembic_of_ones_own_looks_from_the_rootdir_too(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_to_backend(shop)
    shop.write("backend/alembic.ini", ini("backend/migrations"))
    shop.write(
        "conftest.py",
        """
        from pathlib import Path
        import pytest
        from pytest_pgtemplate import Alembic

        @pytest.fixture(scope="session")
        def pg_migrations():
            return Alembic(Path(__file__).with_name("backend") / "alembic.ini")
        """,
    )
    (shop.root / "tests").mkdir()
    monkeypatch.chdir(shop.root / "tests")
    shop.run(str(shop.root)).assert_outcomes(passed=1)


def test_a_location_in_pyproject_is_found_the_same_way(shop: Project) -> None:
    move_to_backend(shop)
    (shop.root / "backend/alembic.ini").unlink()
    shop.write(
        "backend/pyproject.toml",
        '[tool.alembic]\nscript_location = "backend/migrations"\n'
        'version_locations = ["backend/migrations/versions"]\n',
    )
    shop.ini(pg_alembic_ini="backend/pyproject.toml")
    shop.run("--pg-check", "-k", "heads or rows").assert_outcomes(passed=2, deselected=3)


def test_two_locations_are_a_warning_and_the_working_directory_wins(shop: Project) -> None:
    """As with Alembic; the environment beside the configuration is another one."""
    move_to_backend(shop)
    shop.write("backend/alembic.ini", ini("migrations"))
    shop.write("migrations/env.py", SYNC_ENV)
    shop.revision("other", ITEM, down=None)
    shop.ini(pg_alembic_ini="backend/alembic.ini")
    result = shop.run("-Wdefault")
    result.assert_outcomes(passed=1, warnings=1)
    assert "migrated 1 of 1 revisions" in result.stdout.str()
    assert "may mean" in result.stdout.str()


def test_a_missing_script_location(shop: Project) -> None:
    """The error says where it was looked for."""
    shop.write("alembic.ini", ini("nowhere"))
    output = failure(shop)
    assert str(shop.root / "nowhere") in output
