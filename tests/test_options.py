"""Options: where each is read, which place wins, and what a value that cannot be used says."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from pytest_pgtemplate import _urls
from pytest_pgtemplate._run import RUN
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._settings import Settings
from pytest_pgtemplate._urls import database_names, server_address
from support.programs import load_program
from support.projects import COUNTED, ITEM, PLAIN, SYNC_ENV, TESTS, Project, query

URL = "postgresql://{}@127.0.0.1:1/postgres"  # no test connects to it
USAGE_ERROR = pytest.ExitCode.USAGE_ERROR


@pytest.fixture(autouse=True)
def nothing_given(
    pytester: pytest.Pytester,  # noqa: ARG001 - it sets PYTEST_ADDOPTS
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PGTEMPLATE_URL", raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(PLAIN), prepend=" ")


def settings(pytester: pytest.Pytester, *arguments: str) -> Settings:
    """What the plugin makes of the options that it finds."""
    return pytester.parseconfigure(*arguments).stash[RUN].settings


def user(found: Settings) -> str | None:
    return _urls.parse(found.server.urls[0]).username if found.server.urls else None


def test_defaults(pytester: pytest.Pytester) -> None:
    found = settings(pytester)
    assert found.server.urls == ()
    assert found.template.alembic_config == pytester.path / "alembic.ini"
    assert (found.template.revision, found.server.timeout, found.server.bindir) == (
        "heads",
        300.0,
        None,
    )
    assert (dict(found.env), found.template.fingerprint_files) == ({}, ())
    assert not any(
        [found.isolation.autouse, found.template.rebuild, found.isolation.keep, found.output.stats]
    )
    assert found.identity.worker == "main"
    assert re.fullmatch(r"[0-9a-f]{8}", found.identity.run)


def test_command_line_over_environment_over_ini(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini(f"[pytest]\npg_url = {URL.format('ini')}\n")
    assert user(settings(pytester)) == "ini"
    monkeypatch.setenv("PGTEMPLATE_URL", URL.format("environment"))
    assert user(settings(pytester)) == "environment"
    assert user(settings(pytester, "--pg-url", URL.format("line"))) == "line"


def test_an_empty_value_switches_off_what_comes_after_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyprojecttoml(
        f"""
        [tool.pytest.ini_options]
        pg_url = "{URL.format("ini")}"
        pg_bindir = "bin"
        pg_name = "named"
        pg_alembic_ini = "missing.ini"
        """
    )
    found = settings(pytester, "--pg-url=", "--pg-bindir=", "--pg-name=", "--pg-alembic-ini=")
    assert (found.server.urls, found.server.bindir) == ((), None)
    assert found.template.prefix == database_names.prefix_of(pytester.path.name) != "named"
    assert found.template.alembic_config == pytester.path / "alembic.ini"

    monkeypatch.setenv("PGTEMPLATE_URL", " ")  # CI sets what it has not got
    assert user(settings(pytester, "--pg-alembic-ini=")) == "ini"


VALUES = {
    "pg_url": URL.format("ini"),
    "pg_alembic_ini": "conf/alembic.ini",
    "pg_revision": "core@head",
    "pg_name": "My Shop",
    "pg_env": ["APP_DSN", "OTHER_HOST={host}"],
    "pg_autouse": True,
    "pg_fingerprint_files": ["sql/*.sql", "conf/seed.json"],
    "pg_timeout": 12.5,
    "pg_bindir": "pg/bin",
    "pg_version": 17,
    "pg_listen": True,
}


def toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


def ini(value: object) -> str:
    return shlex.join(value) if isinstance(value, list) else str(value)


@pytest.mark.parametrize(
    ("file", "header", "spell"),
    [
        ("pytest.ini", "[pytest]", ini),
        ("setup.cfg", "[tool:pytest]", ini),
        ("pyproject.toml", "[tool.pytest.ini_options]", toml),
        pytest.param(
            "pyproject.toml",
            "[tool.pytest]",
            toml,
            marks=pytest.mark.skipif(pytest.version_tuple < (9,), reason="new in pytest 9"),
        ),
    ],
)
def test_every_kind_of_configuration_file(  # type: ignore[no-untyped-def]
    pytester: pytest.Pytester, file: str, header: str, spell
) -> None:
    for path in ("sql/a.sql", "sql/b.sql", "conf/seed.json", "conf/alembic.ini"):
        made = pytester.path / path
        made.parent.mkdir(exist_ok=True)
        made.touch()
    lines = [f"{name} = {spell(value)}" for name, value in VALUES.items()]
    (pytester.path / file).write_text("\n".join([header, *lines, ""]))

    root = pytester.path
    found = settings(pytester, "--strict-config")
    assert user(found) == "ini"
    assert found.template.alembic_config == root / "conf/alembic.ini"
    assert (found.template.revision, found.template.prefix) == ("core@head", "my_shop")
    assert found.env == {"APP_DSN": "{url}", "OTHER_HOST": "{host}"}
    assert found.isolation.autouse is True
    assert [path.relative_to(root).as_posix() for path in found.template.fingerprint_files] == [
        "sql/a.sql",
        "sql/b.sql",
        "conf/seed.json",
    ]
    assert found.server.timeout == 12.5
    assert found.server.embedded == (root / "pg/bin", 17, True)


def test_relative_paths(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file they start where the file is; on the command line, where the user is."""
    inner = pytester.mkdir("inner")
    for path in (pytester.path / "a.ini", inner / "a.ini"):
        path.touch()
    file = pytester.makeini("[pytest]\npg_alembic_ini = a.ini\npg_bindir = bin\n")
    monkeypatch.chdir(inner)
    found = settings(pytester, "-c", str(file))
    assert (found.template.alembic_config, found.server.bindir) == (
        pytester.path / "a.ini",
        pytester.path / "bin",
    )
    found = settings(pytester, "-c", str(file), "--pg-alembic-ini=a.ini", "--pg-bindir=../bin")
    assert (found.template.alembic_config, found.server.bindir) == (
        inner / "a.ini",
        pytester.path / "bin",
    )


def test_a_very_long_timeout_is_one_that_the_server_understands(
    pytester: pytest.Pytester, server_url: str
) -> None:
    timeout = settings(pytester, "--pg-timeout=1e300").server.timeout
    server = Server(_urls.parse(server_url), timeout=timeout)
    server.close()


@pytest.mark.parametrize("both", [False, True])
def test_alembic_in_pyproject_is_found(pytester: pytest.Pytester, both: bool) -> None:
    pyproject = pytester.makepyprojecttoml('[tool.alembic]\nscript_location = "migrations"\n')
    if both:
        pytester.makefile(".ini", alembic="[alembic]\nscript_location = elsewhere\n")
    assert settings(pytester).template.alembic_config == (
        pytester.path / "alembic.ini" if both else pyproject
    )


SECRET = "hunter2"
UNUSABLE = [
    ("pg_url", f"--pg-url=mysql://joe:{SECRET}@db/x"),
    ("pg_url", f"--pg-url=joe:{SECRET}@db"),
    ("pg_url", f"--pg-url=postgresql://joe:{SECRET}@db:port/x"),
    ("pg_timeout", "--pg-timeout=soon"),
    ("pg_timeout", "--pg-timeout=0"),
    ("pg_timeout", "--pg-timeout=inf"),
    ("pg_timeout", "--pg-timeout=nan"),
    ("pg_timeout", "-opg_timeout=soon"),
    ("pg_alembic_ini", "--pg-alembic-ini=no_such.ini"),
    ("pg_fingerprint_files", "-opg_fingerprint_files=no_such/*.sql"),
    ("pg_fingerprint_files", "-opg_fingerprint_files=/no_such/*.sql"),
    ("pg_autouse", "-opg_autouse=perhaps"),
    ("pg_version", "-opg_version=new"),
    ("pg_listen", "-opg_listen=perhaps"),
]


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(("option", "argument"), UNUSABLE)
def test_a_value_that_cannot_be_used(
    pytester: pytest.Pytester, option: str, argument: str, workers: str
) -> None:
    """One error names the option before anything starts, without a possible password."""
    pytester.makepyfile("def test_it():\n    pass\n")
    result = pytester.runpytest_inprocess("-n", workers, argument)
    output = f"{result.stdout}{result.stderr}"
    assert result.ret == USAGE_ERROR
    assert output.count(option) == 1
    for unwanted in ("INTERNALERROR", "Traceback", SECRET, "test session starts"):
        assert unwanted not in output


@given(st.from_regex(server_address.PATTERN, fullmatch=True))
@example("postgres://")
@example("postgresql+psycopg://joe:p%40ss/w:d@[::1]:5432/shop?sslmode=require")
@example("postgresql://joe@/shop?host=/var/run/postgresql")
def test_an_accepted_url_can_be_read(url: str) -> None:
    """What the options check without SQLAlchemy is what SQLAlchemy reads later."""
    read = _urls.parse(url)
    assert read.get_backend_name() == "postgresql"
    named = server_address.parse(url).set(database="shop_main")
    assert named.render() == _urls.render(read.set(database="shop_main"))


def test_what_is_no_option_is_not_accepted(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it():\n    pass\n")
    assert pytester.runpytest_inprocess("--pg-no-such-thing").ret == USAGE_ERROR
    pytester.makeini("[pytest]\npg_no_such_thing = 1\n")
    result = pytester.runpytest_inprocess("--strict-config")
    assert result.ret == USAGE_ERROR
    assert "pg_no_such_thing" in f"{result.stdout}{result.stderr}"


def test_the_header_names_prefix_and_server_and_no_password(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it():\n    pass\n")
    result = pytester.runpytest_inprocess("--pg-url", URL.format(f"joe:{SECRET}"), "--pg-name=Shop")
    result.stdout.fnmatch_lines(["pgtemplate:*shop_**pg_url*"])
    result.assert_outcomes(passed=1)
    assert SECRET not in f"{result.stdout}{result.stderr}"
    result = pytester.runpytest_inprocess("--pg-name=Shop")
    result.stdout.fnmatch_lines(["pgtemplate:*shop_**embedded*"])


# pg_env and pg_autouse: an application that reads its URL while it is imported, and whose tests
# use no fixture at all.
APPLICATION = """
import os
DSN, OTHER = os.environ["APP_DSN"], os.environ["OTHER_DSN"]
"""
WITHOUT_FIXTURES = load_program("options/without_fixtures.py")


def test_environment_and_autouse(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL is in the environment before test modules are imported, and env.py can read it."""
    monkeypatch.setenv("APP_DSN", "to be overwritten")
    project.ini(
        pg_env="APP_DSN OTHER_DSN",
        pg_autouse="true",
        pythonpath=".",
    )
    project.alembic(
        SYNC_ENV.replace("config = context.config", "import os\nconfig = context.config")
        .replace(
            "engine_from_config(\n    config.get_section(config.config_ini_section, {}), ",
            'create_engine(os.environ["APP_DSN"].replace("postgresql:", "postgresql+psycopg:"), ',
        )
        .replace("engine_from_config", "create_engine")
    )
    project.revision("one", ITEM)
    project.write("app.py", APPLICATION)
    project.write("test_app.py", WITHOUT_FIXTURES)
    result = project.run_workers("--pg-url", str(_urls.dsn(project.server.url)))
    result.assert_outcomes(passed=7)
    result.stdout.fnmatch_lines(
        ["pgtemplate: template * migrated 1 of 1 revisions in *; 2 databases, *"]
    )
    assert all("_tpl_" in name for name in project.databases())


@pytest.fixture
def pluralize(project: Project) -> Project:
    """A project with three database tests, whose migration counts its runs."""
    project.alembic()
    project.revision("one", ITEM + COUNTED)
    project.write("test_it.py", TESTS)
    return project


def test_keep(pluralize: Project) -> None:
    """The databases are left, and each line that says how to connect is true."""
    result = pluralize.run("--pg-keep")
    result.assert_outcomes(passed=4)
    kept = re.findall(r"psql '(.+)'", str(result.stdout))
    workers = [name for name in pluralize.databases() if "_tpl_" not in name]
    assert [make_url(url).database for url in kept] == workers
    assert len(kept) == 1
    for url in kept:
        assert query(make_url(url), "SELECT name FROM item")[0]["name"] == "reference"
    database = pluralize.server.find(workers[0])
    assert database is not None
    assert not database.leased

    result = pluralize.run()
    result.assert_outcomes(passed=4)
    assert set(workers) < set(pluralize.databases())  # the next run leaves it alone, too


def test_once_and_rebuild_and_stats(pluralize: Project) -> None:
    """One migration for any number of workers, none in the next run, one more on demand."""
    result = pluralize.run_workers("--pg-stats", workers=3)
    result.assert_outcomes(passed=4)
    assert pluralize.migrations() == 1
    assert len(pluralize.databases()) == 1
    lines = re.findall(
        r"^  (gw\d): .*clone.*, (?:1 reset|\d+ resets) ", str(result.stdout), re.MULTILINE
    )
    databases = int(re.findall(r"(\d) databases?", str(result.stdout))[0])
    assert len(set(lines)) == len(lines) == databases > 1

    result = pluralize.run()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["pgtemplate: template *reused; 1 database*, 4 resets*"])
    result.stdout.no_fnmatch_line("  main: *")
    assert pluralize.migrations() == 1

    pluralize.run_workers("--pg-rebuild").assert_outcomes(passed=4)
    assert pluralize.migrations() == 2
    assert len(pluralize.databases()) == 1
