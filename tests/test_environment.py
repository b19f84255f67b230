"""``pg_env``: applications that read the address of their database at import."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from filelock import FileLock
from sqlalchemy.engine import URL

from pytest_pgtemplate._server import Server
from pytest_pgtemplate._settings import options
from pytest_pgtemplate._urls import server_address, url_templates
from support.programs import load_program
from support.projects import ITEM, PLAIN, SYNC_ENV, Project, execute, make_project, unique
from support.servers import tcp

with warnings.catch_warnings(action="ignore"):
    from fastapi import testclient  # noqa: F401 - a run in this process cannot import it again

USAGE_ERROR = pytest.ExitCode.USAGE_ERROR
PASSWORD = "p@ss/w:rd %41"


@pytest.fixture(scope="module")
def server_of_parts(private_url: URL) -> URL:
    """A server that is reached by host and port, with a password that URLs have to quote."""
    role = unique("joe")
    execute(private_url, f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
    return tcp(private_url, username=role, password=PASSWORD)


@pytest.fixture
def shop(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, server_of_parts: URL
) -> Iterator[Project]:
    """A backend of the usual kind: it reads parts, and makes its engine when it is imported.

    Its conftest.py imports it at the top, writes the first user once, and logs in per module.
    """
    server = Server(server_of_parts, timeout=60)
    for project in make_project(pytester, monkeypatch, server, server_of_parts):
        project.alembic(SHOP_ENV)
        project.revision("one", SHOP_TABLES)
        for path, text in SHOP.items():
            project.write(path, text)
        monkeypatch.setenv("SHOP_DB", "the_developers_own")
        for name in ("HOST", "PORT", "USER", "PASSWORD"):
            monkeypatch.setenv(f"SHOP_{name}", "to be overwritten")
        yield project
    server.close()


PARTS = "SHOP_HOST={host} SHOP_PORT={port} SHOP_USER={user} SHOP_PASSWORD={password} SHOP_DB={name}"

SHOP = {
    "shop/__init__.py": "",
    "shop/settings.py": load_program("environment/shop/settings.py"),
    "shop/models.py": load_program("environment/shop/models.py"),
    "shop/db.py": load_program("environment/shop/db.py"),
    "shop/main.py": load_program("environment/shop/main.py"),
    "tests/conftest.py": load_program("environment/shop/root_conftest.py"),
}
SHOP_TESTS = load_program("environment/shop_tests.py")
SHOP_ENV = SYNC_ENV.replace(
    "config = context.config", "from sqlalchemy import create_engine\nfrom shop.settings import URL"
).replace(
    "engine_from_config(\n    config.get_section(config.config_ini_section, {}), ",
    "create_engine(URL, ",
)
SHOP_TABLES = load_program("environment/shop/revision.py")


@pytest.mark.full("one")
@pytest.mark.parametrize(("workers", "server"), [(0, "of its own"), (2, "embedded")])
def test_an_application_that_reads_its_url_at_import_needs_no_change(
    shop: Project, monkeypatch: pytest.MonkeyPatch, workers: int, server: str
) -> None:
    """Three lines of configuration, and its conftest.py imports the application at the top."""
    if server == "embedded":
        monkeypatch.delenv("PGTEMPLATE_URL")
    shop.ini(pg_env=PARTS, pg_autouse="true", pythonpath=".")
    for module in ("one", "two"):
        shop.write(f"tests/test_{module}.py", SHOP_TESTS)

    result = shop.run_workers() if workers == 2 else shop.run("-Wignore")

    result.assert_outcomes(passed=16)
    assert all("_tpl_" in name for name in shop.databases())


READS = """
import os
URL = os.environ["APP_URL"]
"""


@pytest.fixture
def app(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An application that reads one URL when it is imported, and a conftest.py that imports it."""
    monkeypatch.setenv("APP_URL", "postgresql://localhost/the_developers_own")
    project.alembic()
    project.revision("one", ITEM)
    project.prepare_template()
    project.ini(pg_env="APP_URL", pythonpath=".")
    project.write("app.py", READS)
    project.write("conftest.py", "import app\n")
    project.write(
        "test_app.py",
        """
        import app

        def test_it(pg_url):
            assert app.URL == pg_url
        """,
    )
    return project


def test_the_embedded_server_is_reached_with_the_driver_of_a_sync_application(
    app: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGTEMPLATE_URL")
    app.ini(pg_env="APP_URL", pg_driver="psycopg", pythonpath=".")
    app.write(
        "test_app.py",
        load_program("environment/sync_driver.py"),
    )

    app.run().assert_outcomes(passed=1)


def test_a_sync_application_that_gets_an_async_driver_reads_which_option_selects_another(
    app: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lazy load of an async session raises the same error, but needs no other driver."""
    monkeypatch.delenv("PGTEMPLATE_URL")
    app.ini(pg_env="APP_URL", pythonpath=".")
    app.write(
        "test_app.py",
        load_program("environment/async_driver_for_a_sync_application.py"),
    )

    result = app.run("-Wignore")

    result.assert_outcomes(failed=2)
    assert result.stdout.str().count("E           sqlalchemy.exc.MissingGreenlet:") == 2
    sections = result.stdout.str().split("pgtemplate: driver")
    assert len(sections) == 2
    assert 'pg_driver = "psycopg"' in sections[1]
    assert "psycopg, psycopg2, pg8000" in sections[1]


def test_a_driver_that_cannot_be_used_ends_the_run(
    app: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.ini(pg_env="APP_URL", pg_driver="psycopg3", pythonpath=".")
    unknown = app.run()
    monkeypatch.setattr(options, "find_spec", lambda _: None)
    app.ini(pg_env="APP_URL", pg_driver="psycopg", pythonpath=".")
    missing = app.run()

    assert unknown.ret == missing.ret == pytest.ExitCode.USAGE_ERROR
    unknown.stderr.fnmatch_lines(["*pg_driver: 'psycopg3' is not one of*"])
    missing.stderr.fnmatch_lines(["*pg_driver: psycopg is not installed*"])


def test_variables_for_other_services_have_numbers_of_the_process(project: Project) -> None:
    """They need no database, and a number that another run holds is left out."""
    project.ini(pg_env="REDIS_URL=redis://localhost/{slot} LABEL={{slot}}{worker}")
    project.write(
        "test_it.py",
        """
        import os

        def test_it(pytestconfig):
            name = os.environ.get("PYTEST_XDIST_WORKER", "main")
            value = f"{os.environ['REDIS_URL']} {os.environ['LABEL']}"
            pytestconfig.rootpath.joinpath(name).write_text(value)
        """,
    )
    slots = project.root / ".cache" / "pytest-pgtemplate" / "slots"
    slots.mkdir(parents=True)

    with FileLock(slots / "0.lock"):
        project.run_workers("--dist=each").assert_outcomes(passed=2)
    values = [(project.root / name).read_text().split() for name in ("gw0", "gw1")]
    # The process that starts the workers has the first free number, 1.
    assert {url for url, _ in values} == {"redis://localhost/2", "redis://localhost/3"}
    assert [label for _, label in values] == ["{slot}0", "{slot}1"]

    project.pytester.runpytest_subprocess(*PLAIN).assert_outcomes(passed=1)
    assert (project.root / "main").read_text() == "redis://localhost/0 {slot}0"


def test_a_pytest_plugins_module_gets_the_variable_in_time(app: Project) -> None:
    app.write("conftest.py", "pytest_plugins = ['app']\n")
    app.run().assert_outcomes(passed=1)


def test_the_variables_are_restored_after_the_run(app: Project) -> None:
    app.ini(pg_env="APP_URL NEW_NAME={name}", pythonpath=".")
    app.run().assert_outcomes(passed=1)
    assert os.environ["APP_URL"].endswith("/the_developers_own")
    assert "NEW_NAME" not in os.environ


@pytest.mark.parametrize("arguments", [["--collect-only"], ["-k", "nothing"]])
def test_without_a_database_test_nothing_is_started(
    app: Project, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """No server is asked for, no database is made, and the environment is as before afterwards."""
    monkeypatch.setenv("PGTEMPLATE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    app.run(*arguments).assert_outcomes(deselected=int("-k" in arguments))
    assert os.environ["APP_URL"].endswith("/the_developers_own")


def test_a_module_that_has_read_the_url_too_early_is_named(app: Project) -> None:
    """Its tests would write to the developer's own database."""
    result = app.run("-p", "app")
    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: app.URL has read APP_URL before pg_env *", "HINT: *"])


def test_a_settings_object_that_has_read_it_too_early_is_named(app: Project) -> None:
    app.write(
        "app.py",
        load_program("environment/a_settings_object_that_has_read_it_too_early_is_named.py"),
    )
    result = app.run("-p", "app")
    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: app.settings.url has read APP_URL before *"])


OTHER_FORMS = {
    "app": load_program("environment/settings_object.py"),
    "app.url": """
        import os
        from sqlalchemy import make_url
        url = make_url(os.environ["APP_" + "URL"]).set(drivername="postgresql+psycopg")
    """,
    "app.engine.url": """
        import os
        from sqlalchemy import create_engine
        engine = create_engine(os.environ["APP_" + "URL"].replace("ql:", "ql+psycopg:"))
    """,
    "app.dsn": """
        import os
        from pydantic import PostgresDsn
        dsn = PostgresDsn(os.environ["APP_" + "URL"])
    """,
}


@pytest.mark.parametrize("holder", OTHER_FORMS)
def test_a_module_that_holds_the_url_in_another_form_is_named(app: Project, holder: str) -> None:
    """It has read it in a function, or has made an object of it."""
    app.write("app.py", OTHER_FORMS[holder])
    result = app.run("-p", "app")
    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {holder} has read APP_URL before pg_env *"])


def test_variables_of_an_env_file_do_not_override_pg_env(app: Project) -> None:
    app.write(
        "envfile.py",
        """
        import os
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_load_initial_conftests():
            os.environ["APP_URL"] = "postgresql://localhost/of_the_env_file"
        """,
    )
    app.run("-p", "envfile").assert_outcomes(passed=1)


SETTINGS = """
import os

class Settings:
    name = os.environ.get("APP_NAME", "the_developers_own")

def later():
    return os.environ["APP_LATER"]
"""
READS_IN_A_HOOK = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests():
    import settings
"""
CHECKS_THE_NAME = """
import pytest
import settings

@pytest.mark.parametrize("n", range(4))
def test_it(n, pg):
    assert settings.Settings.name == pg.name
"""


@pytest.mark.parametrize("workers", [False, True])
def test_a_plugin_that_imports_the_settings_before_conftests_reads_it(
    app: Project, workers: bool
) -> None:
    """As pytest-django does. In a worker the variable is set already: to the controller's."""
    app.ini(pg_env="APP_NAME={name} APP_LATER={name}", pythonpath=".")
    app.write("settings.py", SETTINGS)
    app.write("imports.py", READS_IN_A_HOOK)
    app.write("test_app.py", CHECKS_THE_NAME)

    run = app.run_workers if workers else app.run
    run("-p", "imports").assert_outcomes(passed=4)


def test_a_module_that_has_read_an_unset_variable_too_early_is_named(app: Project) -> None:
    app.ini(pg_env="APP_NAME={name} APP_LATER={name}", pythonpath=".")
    app.write("settings.py", SETTINGS)

    result = app.run("-p", "settings")

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: settings has read APP_NAME before pg_env *", "HINT: *"])


@pytest.mark.parametrize(
    "field", ["db_name: str = 'dev'", "name: str = Field('dev', alias='APP_DB_NAME')"]
)
def test_a_settings_class_that_has_read_an_unset_variable_is_named(
    app: Project, field: str
) -> None:
    """pydantic-settings: the code does not contain the name of the variable."""
    pytest.importorskip("pydantic_settings")
    app.ini(pg_env="APP_DB_NAME={name}", pythonpath=".")
    app.write(
        "settings.py",
        f"""
        from pydantic import Field
        from pydantic_settings import BaseSettings

        class Settings(BaseSettings, env_prefix="APP_"):
            {field}

        settings = Settings()
        """,
    )

    result = app.run("-p", "settings")

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: settings.settings.* has read APP_DB_NAME before pg_env *"])


def test_a_module_that_reads_a_variable_in_a_function_is_not_named(app: Project) -> None:
    app.ini(pg_env="APP_LATER={name}", pythonpath=".")
    app.write("settings.py", SETTINGS)
    app.write("test_app.py", "def test_it(pg): ...\n")

    app.run("-p", "settings").assert_outcomes(passed=1)


SETS = "os.environ['APP_URL'] = 'postgresql://localhost/the_old_test_database'\n"
OVERWRITES = f"import os\n{SETS}"


def test_a_conftest_that_changes_the_variable_is_an_error(app: Project) -> None:
    """As it did before the plugin was there; its tests would write there."""
    app.write("conftest.py", OVERWRITES)
    result = app.run()
    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: APP_URL was changed after pg_env *", "HINT: *"])


def test_a_worker_that_changes_the_variable_is_one_error(app: Project) -> None:
    app.write("conftest.py", f"import os\nif 'PYTEST_XDIST_WORKER' in os.environ:\n    {SETS}")
    app.write("test_more.py", "def test_more(pg):\n    pass\n")
    result = app.run_workers()
    result.assert_outcomes(errors=1, skipped=1)
    result.stdout.fnmatch_lines(["*APP_URL was changed after pg_env *"])


def test_a_test_module_that_changes_the_variable_is_an_error(app: Project) -> None:
    app.write("test_a.py", OVERWRITES)
    result = app.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*APP_URL was changed after pg_env *"])


ENV_FILE = """
import os
import pytest

def load_env_file():
    os.environ["APP_URL"] = "postgresql://localhost/the_developers_own"
"""


@pytest.mark.parametrize("scope", ["session", "module", "function"])
@pytest.mark.parametrize("autouse", [True, False])
def test_a_fixture_that_changes_it_is_reported_before_a_test_runs(
    app: Project, scope: str, autouse: bool
) -> None:
    """Nor does a wider fixture that comes later write to what the variable names now."""
    app.ini(pg_env="APP_URL", pg_autouse=str(autouse).lower(), pythonpath=".")
    app.write(
        "conftest.py",
        ENV_FILE
        + f"""
from pathlib import Path

@pytest.fixture(scope="{scope}", autouse=True)
def application({"" if autouse else "pg_database"}):
    load_env_file()

@pytest.fixture(scope="{scope}")
def data(application):
    Path("written").touch()
""",
    )
    app.write("test_app.py", "def test_it(data, pg): 1 / 0\ndef test_more(pg): 1 / 0\n")
    result = app.run()

    failed = 1 if scope == "function" else 0
    result.assert_outcomes(failed=failed, errors=1 - failed, skipped=1)
    result.stdout.fnmatch_lines(["*APP_URL was changed after pg_env *"])
    assert (app.root / "written").exists() == (scope == "function")


@pytest.mark.parametrize("what", ["set", "deleted", "deleted from the other"])
def test_a_test_that_changes_it_has_an_error(app: Project, what: str) -> None:
    """And the next ones do not run."""
    app.ini(pg_env="APP_URL\n  APP_HOST={host}", pythonpath=".")
    name = "APP_HOST" if "other" in what else "APP_URL"
    act = "load_env_file()" if what == "set" else f"del os.environ['{name}']"
    app.write("test_app.py", f"{ENV_FILE}\ndef test_it(pg): {act}\ndef test_more(pg): 1 / 0\n")
    result = app.run()

    result.assert_outcomes(passed=1, errors=1, skipped=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_it*", f"*{name} was changed after *"])


def test_a_test_may_set_it_again_for_as_long_as_it_runs(app: Project) -> None:
    app.write(
        "test_app.py",
        """
        import os

        def test_it(pg, monkeypatch):
            monkeypatch.setenv("APP_URL", "postgresql://localhost/nowhere")

        def test_more(pg): ...

        def test_without_a_database():
            os.environ["APP_URL"] = "postgresql://localhost/nowhere"
        """,
    )
    app.run().assert_outcomes(passed=3)


def test_a_conftest_may_derive_one_url_from_the_other(app: Project) -> None:
    app.write(
        "conftest.py",
        "import os\nos.environ['APP_URL'] = os.environ['APP_URL'].replace('ql:', 'ql+psycopg:')\n",
    )
    app.write("test_app.py", "def test_it(pg):\n    pass\n")
    app.run().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "change",
    [
        "env['APP_DB'] += '_copy'",
        "env['APP_URL'] = env['ORDERS_URL']",
        "env['APP_URL'] = env['APP_URL'].replace(env['APP_DB'], env['APP_DB'] + '0')",
    ],
)
def test_a_similar_name_is_another_database(app: Project, change: str) -> None:
    """So is that of another entry of pg_databases, or of worker 10 beside worker 1."""
    app.ini(
        pg_databases="orders",
        pg_env="APP_URL ORDERS_URL={orders.url} APP_DB={name}",
        pythonpath=".",
    )
    app.write("conftest.py", f"from os import environ as env\n{change}\n")
    result = app.run()
    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: APP_* was changed after pg_env *"])


def test_a_conftest_may_start_the_server(
    app: Project, monkeypatch: pytest.MonkeyPatch, server_url: str
) -> None:
    """It is imported before the server is known, so it imports the application later."""
    monkeypatch.delenv("PGTEMPLATE_URL")
    app.write(
        "conftest.py",
        f"import os\ndef pytest_configure():\n    os.environ['PGTEMPLATE_URL'] = {server_url!r}\n",
    )
    app.run("--pg-bindir", "no/such").assert_outcomes(passed=1)


def test_a_run_within_a_test_is_no_worker(app: Project) -> None:
    """It has a database of its own, also before its conftest is imported."""
    app.write(
        "test_app.py",
        load_program("environment/a_run_within_a_test_is_no_worker.py"),
    )
    app.run_workers().assert_outcomes(passed=2)


def test_with_autouse_the_database_is_there_before_any_fixture(app: Project) -> None:
    """Also where a test names a fixture of ours itself."""
    app.ini(pg_env="APP_URL={url:}", pg_autouse="true", pythonpath=".")
    app.write(
        "conftest.py",
        """
        import app, psycopg, pytest

        @pytest.fixture(scope="session", autouse=True)
        def written():
            with psycopg.connect(app.URL) as connection:
                connection.execute("INSERT INTO item (name) VALUES ('of the session')")
        """,
    )
    app.write(
        "test_app.py",
        """
        import pytest
        from sqlalchemy import text

        @pytest.mark.parametrize("n", range(2))
        def test_it(n, pg_sync_session):
            names = pg_sync_session.scalars(text("SELECT name FROM item ORDER BY id")).all()
            assert names == ["reference", "of the session"]
        """,
    )
    app.run().assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("pg_env", "message"),
    [
        ("A=b", "has no field"),
        ("A={nme}", "{nme}"),
        ("A={host:psycopg}", "{host:psycopg}"),
        ("A={url!r}", "cannot be parsed"),
        ("A={", "cannot be parsed"),
        ("A={host}}", "cannot be parsed"),
        ("=a", "not a valid variable name"),
        ("A={name} A", "A appears twice"),
        ("A={orders.slot}", "{orders.slot}"),
        ("A={slot:psycopg}", "{slot:psycopg}"),
        ("A={{slot}}", "has no field"),
    ],
)
def test_a_template_that_cannot_be_filled(app: Project, pg_env: str, message: str) -> None:
    app.ini(pg_env=pg_env)
    result = app.run()
    output = f"{result.stdout}{result.stderr}"
    assert result.ret == USAGE_ERROR
    for wanted in ("pg_env: ", message, "{url:driver}", "{password}"):
        assert wanted in output
    assert "INTERNALERROR" not in output


TCP = server_address.parse(f"postgresql+asyncpg://joe:{quote(PASSWORD, safe='')}@[::1]:6543/shop")
SOCKET = server_address.parse("postgresql://joe@/shop?host=/run/pg&port=6543&ssl=require")


@pytest.mark.parametrize(
    ("address", "template", "filled"),
    [
        (TCP, "{url}", "postgresql+asyncpg://joe:p%40ss%2Fw%3Ard%20%2541@[::1]:6543/shop"),
        (TCP, "{url:psycopg}", "postgresql+psycopg://joe:p%40ss%2Fw%3Ard%20%2541@[::1]:6543/shop"),
        (TCP, "jdbc:{url:}", "jdbc:postgresql://joe:p%40ss%2Fw%3Ard%20%2541@[::1]:6543/shop"),
        (TCP, "{host}|{port}|{name}|{user}", "::1|6543|shop|joe"),
        (TCP, "{password}", PASSWORD),
        (TCP, "{{{name}}}", "{shop}"),
        (TCP, "x://{user}:{password}@{host}/{name}", "x://joe:p%40ss%2Fw%3Ard%20%2541@[::1]/shop"),
        (SOCKET, "{host} {port}", "/run/pg 6543"),
        (SOCKET, "{url:}", "postgresql://joe@/shop?host=%2Frun%2Fpg&port=6543&sslmode=require"),
        (
            SOCKET,
            "{url:pg8000}",
            "postgresql+pg8000://joe@/shop?unix_sock=%2Frun%2Fpg%2F.s.PGSQL.6543",
        ),
        (server_address.parse("postgresql:///shop"), "{host} {port} {password}", "localhost 5432 "),
    ],
)
def test_a_template_is_filled(address: server_address.Address, template: str, filled: str) -> None:
    assert url_templates.render_template(template, {"": address}) == filled


@pytest.mark.usefixtures("new_interpreters")
def test_a_variable_costs_no_library(app: Project) -> None:
    """A run without a database test imports nothing for it that takes time."""
    app.ini(pg_env="APP_URL NAME={name} OTHER={url:psycopg}", pythonpath=".")
    app.write(
        "test_app.py",
        """
        import sys

        def test_it():
            assert not {"sqlalchemy", "asyncpg", "alembic"} & {*sys.modules}
        """,
    )
    result = app.pytester.runpytest_subprocess("-p", "no:asyncio", "-p", "no:hypothesispytest")
    result.assert_outcomes(passed=1)
