"""``pg_bind``: the application's own sessionmakers and engines use the database of each test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_pgtemplate import _urls
from pytest_pgtemplate._engines import Bindings
from pytest_pgtemplate.errors import ConfigurationError
from support.programs import load_program
from support.projects import Project

# An application that creates its engines at import, as most do. It contains nothing for tests.
APPLICATION = load_program("bindings/application.py")

CONFTEST = """
import pytest

from pytest_pgtemplate import SqlFiles

@pytest.fixture(scope="session")
def pg_migrations(pytestconfig):
    return SqlFiles(pytestconfig.rootpath / "schema.sql")
"""

SCHEMA = "CREATE TABLE item (id serial PRIMARY KEY, name text NOT NULL);"

ASYNC_TESTS = """
import pytest
import app

@pytest.mark.parametrize("n", range(2))
@pytest.mark.parametrize("name", {names})
async def test_it(n, name, {fixtures}):
    make = getattr(app, name)
    assert await app.count(make) == 0
    await app.add(make)
    assert await app.count(make) == 1
"""

SYNC_TESTS = ASYNC_TESTS.replace("async ", "").replace("await ", "")
SYNC_TESTS = SYNC_TESTS.replace("test_it", "test_sync").replace("(make)", "_sync(make)")

AUTO = ("-o", "asyncio_mode=auto")


@pytest.fixture
def application(project: Project) -> Project:
    """A project with an application and a schema. Warnings are errors."""
    project.write("app.py", APPLICATION)
    project.write("conftest.py", CONFTEST)
    project.write("schema.sql", SCHEMA)
    return project


def run(project: Project, *arguments: str, **options: object) -> pytest.RunResult:
    project.ini(filterwarnings="error", asyncio_default_fixture_loop_scope="function", **options)
    without = [f"-pno:{name}" for name in ("cacheprovider", "anyio", "hypothesispytest")]
    return project.pytester.runpytest_subprocess(*without, *AUTO, *arguments)


@pytest.mark.parametrize("loop", ["function", "session"])
def test_each_kind_of_sessionmaker_uses_the_database_of_each_test(
    application: Project, loop: str
) -> None:
    names = ["Session", "Legacy", "Unbound", "Scoped"]
    sync_names = ["SyncSession", "SyncScoped"]
    application.write("test_app.py", ASYNC_TESTS.format(fixtures="pg", names=names))
    application.write("test_sync.py", SYNC_TESTS.format(fixtures="pg", names=sync_names))

    result = run(
        application,
        *("-o", f"asyncio_default_test_loop_scope={loop}"),
        pg_bind=" ".join(f"app:{name}" for name in names + sync_names),
    )

    result.assert_outcomes(passed=12)


@pytest.mark.parametrize("loop", ["function", "session"])
def test_a_named_engine_works_in_every_event_loop(application: Project, loop: str) -> None:
    application.write("test_app.py", ASYNC_TESTS.format(fixtures="pg", names=["Session"]))
    application.write("test_sync.py", SYNC_TESTS.format(fixtures="pg", names=["SyncSession"]))

    result = run(
        application,
        *("-o", f"asyncio_default_test_loop_scope={loop}"),
        pg_bind="app:engine app:sync_engine",
        pg_env="DATABASE_URL={url:asyncpg} SYNC_URL={url:psycopg}",
    )

    result.assert_outcomes(passed=4)


def test_an_engine_may_be_used_in_two_event_loops_in_turn(application: Project) -> None:
    """Connections of an open loop are not used in another loop, and are closed at the end."""
    application.write(
        "test_app.py",
        load_program("bindings/an_engine_may_be_used_in_two_event_loops_in_turn.py"),
    )

    result = run(
        application, "-p", "no:randomly", pg_bind="app:engine", pg_env="DATABASE_URL={url:asyncpg}"
    )

    result.assert_outcomes(passed=4)


def test_without_pg_bind_a_section_names_the_cause_and_the_remedies(application: Project) -> None:
    application.write("test_app.py", ASYNC_TESTS.format(fixtures="pg", names=["Session"]))

    result = run(application, pg_env="DATABASE_URL={url:asyncpg}", pg_autouse="true")

    result.assert_outcomes(passed=1, failed=1)
    text = result.stdout.str()
    assert text.count('pg_bind = ["myapp.db:SessionLocal"]') == 1


def test_an_error_in_a_loop_that_has_been_closed_since_causes_no_section(
    application: Project,
) -> None:
    application.write(
        "test_app.py",
        load_program("bindings/an_error_in_a_loop_that_has_been_closed_since_causes_no_section.py"),
    )

    result = run(application)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*DivisionByZeroError*"])
    result.stdout.no_fnmatch_line("*pg_bind*")


def test_two_statements_at_once_in_one_loop_cause_no_section(application: Project) -> None:
    """asyncpg raises the same error, but the cause is different."""
    application.write(
        "test_app.py",
        load_program("bindings/two_statements_at_once_in_one_loop_cause_no_section.py"),
    )

    result = run(application)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*another operation is in progress*"])
    result.stdout.no_fnmatch_line("*pg_bind*")


UNDER_ROLLBACK = load_program("bindings/under_rollback.py")


def test_under_rollback_application_and_test_share_a_transaction(application: Project) -> None:
    application.write("test_app.py", UNDER_ROLLBACK)
    bound = "app:Session app:Scoped app:SyncSession app:SyncScoped"

    result = run(application, pg_bind=bound, pg_isolation="rollback")

    result.assert_outcomes(passed=8)


ENGINES_UNDER_ROLLBACK = load_program("bindings/engines_under_rollback.py")


def test_under_rollback_a_named_engine_commits_and_is_reset(application: Project) -> None:
    application.write("test_app.py", ENGINES_UNDER_ROLLBACK)

    result = run(
        application,
        pg_bind="app:engine app:sync_engine",
        pg_env="DATABASE_URL={url:asyncpg} SYNC_URL={url:psycopg}",
        pg_isolation="rollback",
    )

    result.assert_outcomes(passed=4)


def test_the_binding_of_the_application_is_restored(application: Project) -> None:
    application.write(
        "test_app.py",
        load_program("bindings/the_binding_of_the_application_is_restored.py"),
    )

    result = run(application, "-p", "no:randomly", pg_bind="app:Session app:SyncScoped")

    result.assert_outcomes(passed=2)


def test_an_application_that_calls_configure_at_startup_keeps_the_binding(
    application: Project,
) -> None:
    application.write(
        "test_app.py",
        """
        import app

        async def test_it(pg):
            app.Unbound.configure(bind=app.engine, expire_on_commit=False)
            assert app.Unbound().sync_session.expire_on_commit is False
            await app.add(app.Unbound)

        def test_afterwards():
            assert app.Unbound.kw["bind"] is app.engine
        """,
    )

    result = run(application, "-p", "no:randomly", pg_bind="app:Unbound")

    result.assert_outcomes(passed=2)


def test_connections_that_the_application_leaves_open_are_closed(application: Project) -> None:
    application.write(
        "test_app.py",
        load_program("bindings/connections_that_the_application_leaves_open_are_closed.py"),
    )

    run(application, pg_bind="app:Session app:SyncScoped").assert_outcomes(passed=4)


SHARED_OBJECT = load_program("bindings/shared_object.py")


def test_a_session_that_the_application_keeps_holds_no_objects_afterwards(
    application: Project,
) -> None:
    """An object of a shared fixture can be added to the sessions of several tests in turn."""
    application.write("test_app.py", SHARED_OBJECT)

    run(application, pg_bind="app:Session app:SyncScoped").assert_outcomes(passed=4)


LATE = load_program("bindings/late.py")


@pytest.mark.parametrize("isolation", ["truncate", "rollback"])
def test_a_test_that_requests_its_database_late_is_bound_from_then_on(
    application: Project, isolation: str
) -> None:
    application.write("test_app.py", LATE)

    result = run(application, pg_bind="app:Session app:SyncSession", pg_isolation=isolation)

    result.assert_outcomes(passed=10)


def test_each_database_has_its_own_bindings(application: Project) -> None:
    application.write(
        "conftest.py",
        CONFTEST
        + """
@pytest.fixture(scope="session")
def pg_orders_migrations(pytestconfig):
    return SqlFiles(pytestconfig.rootpath / "schema.sql")
""",
    )
    application.write(
        "test_app.py",
        """
        import pytest
        import app

        @pytest.mark.parametrize("n", range(2))
        async def test_it(n, pg_database, pg_orders_database):
            await app.add(app.Session)
            assert await app.count(app.Session) == 1
            assert await app.count(app.Unbound) == 0
            await app.add(app.Unbound)
        """,
    )

    result = run(application, pg_databases="orders", pg_bind="app:Session orders=app:Unbound")

    result.assert_outcomes(passed=2)


REPLACED = """
import app
from sqlalchemy.ext.asyncio import async_sessionmaker

async def test_it(pg):
    app.Session = async_sessionmaker(app.engine)
"""


ROUTED = load_program("bindings/routed.py")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere:Session", "cannot be imported: ModuleNotFound"),
        ("broken:Session", "KeyError: 'NOT_SET_ANYWHERE' (.*broken.py:1)"),
        ("routed:engin", "routed:engin does not exist"),
        ("routed:add", "routed:add is of type function"),
        ("routed:Function", "routed:Function is of type function"),
        ("routed:Tables", "routed:Tables has binds="),
        ("routed:Own", "overrides get_bind"),
        ("routed:AsyncOwn", "overrides get_bind"),
    ],
)
def test_an_object_that_cannot_be_bound_is_an_error_that_names_it(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("import os; os.environ['NOT_SET_ANYWHERE']", "utf-8")
    (tmp_path / "routed.py").write_text(ROUTED, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "routed", raising=False)

    with pytest.raises(ConfigurationError, match=message) as raised:
        Bindings((path,))

    assert raised.value.hint


@pytest.mark.parametrize("path", ["app:Sesion", "app:sync_engine"])
def test_an_error_in_pg_bind_is_reported_once_before_the_first_test(
    application: Project, path: str
) -> None:
    """Such as an engine that connects to another database than that of the worker."""
    application.write("test_app.py", SYNC_TESTS.format(fixtures="pg", names=["SyncSession"]))

    result = run(application, pg_bind=path)

    result.assert_outcomes(errors=1, skipped=1)
    result.stdout.fnmatch_lines([f"*pg_bind: {path} *", "*HINT: *"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("app.SyncSession(bind=elsewhere.bare)", ""),
        ("app.SyncSession.configure(bind=elsewhere.bare) or app.SyncSession()", ""),
        ("app.SyncSession.configure(binds={Item: elsewhere.bare}) or app.SyncSession()", "binds="),
    ],
)
def test_the_application_cannot_replace_the_binding(
    application: Project, call: str, message: str
) -> None:
    """Neither in a call of the sessionmaker, nor when it configures it during a test."""
    dsn = _urls.dsn(application.server.url)
    application.write("elsewhere.py", ELSEWHERE.format(dsn=dsn))
    application.write(
        "test_app.py",
        f"""
        import app
        import elsewhere
        import sqlalchemy

        Item = sqlalchemy.Table("item", sqlalchemy.MetaData())

        def test_writes(pg):
            with {call} as session:
                assert session.scalar(sqlalchemy.text("SELECT current_database()")) == pg.name

        def test_next(pg):
            assert app.count_sync() == 0
        """,
    )

    result = run(application, pg_bind="app:SyncSession")

    result.assert_outcomes(**({"failed": 2} if message else {"passed": 2}))
    if message:
        result.stdout.fnmatch_lines([f"*{message}*"])


ELSEWHERE = """
import sqlalchemy

def connect():
    import psycopg
    return psycopg.connect("{dsn}", dbname="postgres")

bare = sqlalchemy.create_engine("postgresql+psycopg://", creator=connect)
"""


def test_an_engine_whose_url_names_no_database_is_asked(application: Project) -> None:
    """``creator``, ``connect_args`` and libpq may name it; no statement of a test reaches it."""
    dsn = _urls.dsn(application.server.url)
    application.write("elsewhere.py", ELSEWHERE.format(dsn=dsn))
    application.write(
        "test_app.py",
        """
        import elsewhere
        import sqlalchemy

        def test_writes(pg):
            with elsewhere.bare.begin() as connection:
                connection.execute(sqlalchemy.text("CREATE TABLE never (id int)"))
        """,
    )

    result = run(application, pg_bind="elsewhere:bare")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['*elsewhere:bare connects to the database "postgres"*'])


def test_a_sessionmaker_that_is_replaced_during_a_test_is_an_error(application: Project) -> None:
    application.write("test_app.py", REPLACED)

    result = run(application, pg_bind="app:Session")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*app:Session was replaced by another object*"])


@pytest.mark.parametrize("entry", ["app", "app.Session", "other=app:Session", "app:a app:a"])
def test_an_entry_that_is_not_an_import_path_is_a_usage_error(project: Project, entry: str) -> None:
    project.ini(pg_bind=entry)

    result = project.run()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pg_bind: *"])


def test_a_module_that_is_imported_under_two_names(application: Project) -> None:
    """Its sessions of the second name would use the application's own database."""
    application.write("src/__init__.py", "")
    application.write("src/app.py", APPLICATION)
    (application.root / "app.py").unlink()
    application.write(
        "test_app.py",
        """
        from src.app import add

        async def test_one():
            pass

        async def test_two():
            pass
        """,
    )

    result = run(application, pg_bind="app:Session", pg_autouse="true", pythonpath="src .")

    result.assert_outcomes(errors=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["*the file of app:Session was imported a second time, as src.app,*", "*HINT: *"]
    )


def test_a_second_import_during_a_test(application: Project) -> None:
    application.write(
        "test_app.py",
        """
        import sys
        from importlib.util import module_from_spec, spec_from_file_location

        import app

        def test_it(pg):
            spec = spec_from_file_location("second", app.__file__)
            sys.modules["second"] = module_from_spec(spec)
            spec.loader.exec_module(sys.modules["second"])
        """,
    )

    result = run(application, pg_bind="app:Session")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*the file of app:Session was imported a second time, as second,*"]
    )
