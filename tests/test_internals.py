"""What the plugin relies on inside other projects: a failure names what a new version broke."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from pytest_pgtemplate import _urls
from pytest_pgtemplate._internals import alembic as alembic_internals
from pytest_pgtemplate._internals import asyncio as asyncio_internals
from pytest_pgtemplate._internals import asyncpg as asyncpg_internals
from pytest_pgtemplate._internals import pg8000
from pytest_pgtemplate._internals.cpython import interrupt_thread
from pytest_pgtemplate._internals.pytest import (
    command_line_value,
    is_selected,
    map_report_strings,
    module_of_fixture,
    module_of_requested_fixture,
    override_node,
    requested_by_signature,
    run_without_report,
)
from pytest_pgtemplate._internals.sqlalchemy import (
    CustomPool,
    EngineListeners,
    await_only,
    greenlet_spawn,
    override_transactions,
    share_events,
    sync_engine_of_frame,
    watch_driver_connections,
)
from pytest_pgtemplate._internals.sqlalchemy_sessions import (
    empty_registry,
    session_subclass,
    sessionmaker_keywords,
)
from pytest_pgtemplate._server import Server
from support.programs import load_program
from support.projects import PLAIN


class OneConnection(CustomPool):
    """Hands out one connection, whatever happens."""

    entries: list[ConnectionPoolEntry]

    def checkout_entry(self) -> ConnectionPoolEntry:
        self.entries = getattr(self, "entries", None) or [self.new_entry()]
        return self.entries[0]

    def checkin_entry(self, entry: ConnectionPoolEntry) -> None:
        assert entry is self.entries[0]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=OneConnection)
    yield engine
    for entry in getattr(engine.pool, "entries", ()):
        entry.close()


def test_sqlalchemy_asks_a_pool_for_connections_by_do_get_and_do_return_conn(
    engine: Engine,
) -> None:
    with engine.connect() as first:
        driver = first.connection.dbapi_connection
    with engine.connect() as second:
        assert second.connection.dbapi_connection is driver


def test_sqlalchemy_creates_a_missing_dispatch(engine: Engine) -> None:
    calls: list[str] = []
    event.listen(engine, "connect", lambda *_: calls.append("ours"))
    listeners = EngineListeners(engine)
    event.listen(listeners.engine_for_test(), "connect", lambda *_: calls.append("first test's"))

    with listeners.engine_for_test().connect():
        assert calls == ["ours"]


def test_sqlalchemy_lists_connect_listeners_in_dispatch(engine: Engine) -> None:
    listeners = EngineListeners(engine)
    listeners.engine_for_test()
    calls: list[object] = []
    event.listen(engine, "connect", lambda connection, _: calls.append(connection))

    listeners.call_connect_listeners("connection", None)  # type: ignore[arg-type]

    assert calls == ["connection"]


def test_sqlalchemy_begins_commits_and_rolls_back_by_methods_of_the_dialect() -> None:
    engine = create_engine("sqlite://")
    calls: list[str] = []
    engine.connect().close()  # the dialect asks the database about itself, and rolls back
    override_transactions(
        engine,
        lambda _: calls.append("begin"),
        lambda _: calls.append("commit"),
        lambda *_: calls.append("rollback"),
        lambda *_: calls.append("level"),
    )

    with engine.connect() as connection:
        with connection.begin():
            pass
        connection.begin().rollback()

    assert calls[:4] == ["begin", "commit", "begin", "rollback"]
    engine.dispose()


def test_sqlalchemy_knows_the_async_engine_of_an_engine() -> None:
    url = "postgresql+asyncpg://localhost/"
    alone, async_engine = create_engine(url), create_async_engine(url)

    def engine_of_frame(self: Engine) -> Engine | None:  # noqa: ARG001 - read from the frame
        return sync_engine_of_frame(sys._getframe())

    assert engine_of_frame(alone) is alone
    assert engine_of_frame(async_engine.sync_engine) is None


def test_sqlalchemy_runs_sync_code_in_a_greenlet_that_can_await() -> None:
    def sync() -> int:
        return await_only(asyncio.sleep(0, 7))

    assert asyncio.run(greenlet_spawn(sync)) == 7


def test_asyncio_closes_a_loop_by_the_method_of_the_instance() -> None:
    calls: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        asyncio_internals.run_before_close(loop, lambda: calls.append("before close"))

    asyncio.run(main())

    assert calls == ["before close"]


def test_asyncio_closes_a_dropped_generator_in_a_task_of_a_known_type() -> None:
    closed: list[bool] = []

    async def generator() -> Any:
        try:
            yield
        finally:
            await asyncio.sleep(0.01)
            closed.append(True)

    async def main() -> None:
        async for _ in generator():
            break
        await asyncio.sleep(0)
        await asyncio_internals.wait_for_closing_generators()
        assert closed

    asyncio.run(main())


@pytest.fixture(scope="module")
def module_fixture() -> str:
    """Something to look up."""
    return "value"


def test_pytest_finds_fixtures_for_an_item(
    request: pytest.FixtureRequest, module_fixture: str
) -> None:
    assert module_fixture == "value"
    assert override_node(request.node, "module_fixture") == request.node.nodeid.partition("::")[0]
    assert override_node(request.node, "no such fixture") == ""
    assert requested_by_signature(request.node) == ("request", "module_fixture")


@pytest.mark.usefixtures("module_fixture")
@pytest.mark.parametrize("tmp_path_factory", ["a parameter"])
def test_pytest_knows_which_definition_of_a_fixture_counts(
    request: pytest.FixtureRequest, tmp_path_factory: str
) -> None:
    """A fixture, a parameter of the name of a fixture, and a fixture that is not requested."""
    item = request.node
    assert tmp_path_factory == "a parameter"
    assert module_of_requested_fixture(item, "module_fixture") == __name__
    assert module_of_requested_fixture(item, "tmp_path_factory") == "_pytest.python"
    assert module_of_requested_fixture(item, "recwarn") == "_pytest.recwarn"
    assert module_of_requested_fixture(item, "no such fixture") == ""


@pytest.mark.parametrize(
    ("options", "selected"),
    [
        ([], True),
        (["-kthis and not that"], True),
        (["-kthat"], False),
        (["-mslow"], True),
        (["-mnot slow"], False),
        (["-kthis", "-mnot slow"], False),
        (["-k("], False),
        (["-m("], False),
    ],
    ids=str,
)
def test_pytest_answers_whether_k_and_m_select_an_item(
    pytester: pytest.Pytester, options: list[str], selected: bool
) -> None:
    found: list[bool] = []

    class Plugin:
        def pytest_itemcollected(self, item: pytest.Item) -> None:
            found.append(is_selected(item))

    pytester.makeini("[pytest]\nmarkers = slow")
    pytester.makepyfile("import pytest\n@pytest.mark.slow\ndef test_this(): ...")
    pytester.inline_run(*PLAIN, "--collect-only", *options, plugins=[Plugin()])

    assert found == [selected]


def test_pytest_runs_an_item_without_reporting_it(pytester: pytest.Pytester) -> None:
    """``pytest_runtest_logreport``, from which the cache learns of failures, is not called."""
    found: list[str] = []
    logged: list[pytest.TestReport] = []

    class Plugin:
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
            found.extend(report.outcome for report in run_without_report(item, nextitem))
            return True

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            logged.append(report)

    pytester.makepyfile("def test_this(): assert False")
    pytester.inline_run(*PLAIN, plugins=[Plugin()])

    assert found == ["passed", "failed", "passed"]
    assert logged == []


def test_python_raises_in_another_thread() -> None:
    raised: list[BaseException] = []
    waiting = threading.Event()

    def wait() -> None:
        try:
            while True:
                waiting.set()
                time.sleep(0.001)
        except KeyboardInterrupt as interrupt:
            raised.append(interrupt)

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(60)
    interrupt_thread(thread)
    thread.join(60)

    assert len(raised) == 1


def test_pytest_knows_the_module_of_a_fixture(request: pytest.FixtureRequest) -> None:
    manager: Any = request.session._fixturemanager
    (definition,) = manager.getfixturedefs("module_fixture", request.node)

    assert module_of_fixture(definition) == __name__


def test_pytest_sets_up_a_fixture_that_a_hook_refused_to_set_up(pytester: pytest.Pytester) -> None:
    """Without our help it would run into an assertion about finalizers."""
    pytester.makeconftest(
        load_program("internals/pytest_sets_up_a_fixture_that_a_hook_refused_to_set_up.py")
    )
    pytester.makepyfile(
        """
        def test_one(wide): ...
        def test_two(wide): assert wide == "value"
        """
    )
    pytester.runpytest_inprocess("-pno:asyncio").assert_outcomes(passed=1, errors=1)


def test_pytest_shows_whether_it_runs_the_finalizers_of_a_fixture(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest(
        load_program("internals/pytest_shows_whether_it_runs_the_finalizers_of_a_fixture.py")
    )
    pytester.makepyfile(test_a="def test_a(passes, skips): ...")
    pytester.makepyfile(
        test_b="""
        from conftest import finished

        def test_b(): assert finished == ["skips", "passes"]
        """
    )
    pytester.runpytest_inprocess("-pno:asyncio").assert_outcomes(passed=1, skipped=1)


def test_sqlalchemy_shows_when_the_connection_of_the_driver_is_taken(server: Server) -> None:
    engine = create_engine(_urls.for_driver(server.url, "psycopg"))
    taken: list[object] = []
    watch_driver_connections(engine, taken.append)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.commit()
        connection.info["theirs"] = 1
        connection.execution_options(isolation_level="SERIALIZABLE")
        with connection.begin(), connection.begin_nested():
            assert connection.get_isolation_level() == "SERIALIZABLE"
        assert taken == []
        assert taken == [connection.connection]
    engine.dispose()


def test_sqlalchemy_shows_when_the_connection_of_an_async_driver_is_taken(server: Server) -> None:
    engine = create_async_engine(_urls.for_driver(server.url, "asyncpg"))
    taken: list[object] = []
    watch_driver_connections(engine.sync_engine, taken.append)

    async def take() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            assert taken == []
            assert [await connection.get_raw_connection()] == taken
        await engine.dispose()

    asyncio.run(take())


def test_sqlalchemy_lets_one_engine_hear_what_listeners_of_another_hear(server: Server) -> None:
    heard: list[str] = []
    one, other = (create_engine(_urls.for_driver(server.url, "psycopg")) for _ in range(2))
    shared = share_events(one.execution_options(), other)
    event.listen(other, "before_cursor_execute", lambda *given: heard.append(given[2]))
    for engine in (shared, one):
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    assert heard == ["SELECT 1"]
    one.dispose()
    other.dispose()


def test_pg8000_shows_when_a_thread_waits_and_what_cancels_its_query(server: Server) -> None:
    engine = create_engine(_urls.for_driver(server.url, "pg8000"))
    raw = engine.raw_connection()
    errors: list[BaseException] = []

    def sleep() -> None:
        try:
            raw.cursor().execute("SELECT pg_sleep(20)")
        except engine.dialect.loaded_dbapi.Error as error:
            errors.append(error)

    assert not pg8000.is_busy(raw.dbapi_connection)
    thread = threading.Thread(target=sleep)
    thread.start()
    while not pg8000.is_busy(raw.dbapi_connection):
        assert thread.is_alive()
    while thread.is_alive():  # the server may not have begun the query
        pg8000.cancel(raw.dbapi_connection)
        thread.join(0.01)
    assert errors
    raw.close()
    engine.dispose()


def test_pytest_knows_the_command_line_before_conftests_are_imported(
    pytester: pytest.Pytester,
) -> None:
    config = pytester.parseconfig("--pg-name=from_the_command_line")

    assert command_line_value(config, "pg_name") == "from_the_command_line"


def test_pytest_gives_the_terminal_back_while_it_captures(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        from pytest_pgtemplate._internals.pytest import capture_disabled

        def test_it(pytestconfig):
            with capture_disabled(pytestconfig):
                print("seen")
            print("captured")
        """
    )
    result = pytester.runpytest_subprocess()

    result.stdout.fnmatch_lines(["*seen*"])
    result.stdout.no_fnmatch_line("*captured*")


def test_pytest_represents_a_failure_by_objects_that_can_be_walked() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011, PT012
        secret = "password"  # noqa: F841
        raise ValueError("the password")
    shown = caught.getrepr(showlocals=True)

    map_report_strings(shown, lambda text: text.replace("password", "***"))

    assert "password" not in str(shown)
    assert "***" in str(shown)


def test_pytest_keeps_the_traceback_of_a_ctrl_c(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest
        from pytest_pgtemplate._internals.pytest import interrupt_traceback

        @pytest.hookimpl(trylast=True)
        def pytest_sessionfinish(session):
            assert "KeyboardInterrupt" in str(interrupt_traceback(session.config))
            print("found")
        """
    )
    pytester.makepyfile("def test_it(): raise KeyboardInterrupt")

    pytester.runpytest_subprocess("-s").stdout.fnmatch_lines(["*found*"])


def test_an_asyncpg_connection_is_closed_in_one_process_only(server_url: str) -> None:
    """Here a duplicate of its socket stands for that of the parent."""

    async def run() -> None:
        connection = await asyncpg.connect(str(_urls.asyncpg_dsn(_urls.parse(server_url))))
        pid = connection.get_server_pid()
        other = await asyncpg.connect(str(_urls.asyncpg_dsn(_urls.parse(server_url))))
        parents = os.dup(connection._transport.get_extra_info("socket").fileno())
        asyncpg_internals.disconnect_in_fork(connection)
        query = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1"
        assert await other.fetchval(query, pid) == 1
        os.close(parents)
        while await other.fetchval(query, pid):  # noqa: ASYNC110 - the server sends no event
            await asyncio.sleep(0.01)
        connection.terminate()
        await other.close()

    asyncio.run(asyncio.wait_for(run(), 60))


ENV = """
from alembic import context
from sqlalchemy import create_engine, pool

with create_engine("sqlite://", poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, version_table="env_py")
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = 'revision, down_revision = "{}", {}\ndef upgrade(): pass\ndef downgrade(): pass\n'


def test_alembic_loads_each_revision_file_once_and_hides_none(tmp_path: Path) -> None:
    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / "one.py").write_text(REVISION.format("one", None))
    (versions / "two.py").write_text(REVISION.format("two", '"one"'))
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    script = ScriptDirectory.from_config(config)
    loaded = alembic_internals.load_scripts(script)
    assert sorted(each.revision for each in loaded) == ["one", "two"]
    assert script.get_revision("two") in loaded
    assert alembic_internals.version_directories(script) == [str(versions)]

    (versions / "same.py").write_text(REVISION.format("two", '"one"'))
    again = alembic_internals.load_scripts(ScriptDirectory.from_config(config))
    assert sorted(each.revision for each in again) == ["one", "two", "two"]


def test_alembic_plans_an_upgrade_and_env_py_can_be_overruled(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENV)
    (tmp_path / "versions" / "one.py").write_text(REVISION.format("one", None))
    (tmp_path / "versions" / "two.py").write_text(REVISION.format("two", '"one"'))
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    seen: list[Any] = []

    def plan(heads: Any, context: Any) -> list[Any]:
        steps = alembic_internals.upgrade_steps(script, "heads", heads)
        seen.extend(step.revision.revision for step in steps)
        seen.append(alembic_internals.downgrade_step(script, steps[-1]).is_downgrade)
        seen.append(alembic_internals.in_external_transaction(context))
        return steps

    environment = EnvironmentContext(config, script, fn=plan, destination_rev="heads")
    alembic_internals.override_configure(
        environment, {"version_table": "ours"}, lambda context: seen.append(context.version_table)
    )
    with environment:
        script.run_env()

    assert seen == ["ours", "one", "two", True, False]


def test_sqlalchemy_makes_sessions_from_kw_which_configure_updates() -> None:
    maker = sessionmaker()

    with sessionmaker_keywords(maker, {"autoflush": False}):
        maker.configure(autoflush=True, expire_on_commit=False)
        assert (maker().autoflush, maker().expire_on_commit) == (False, False)

    assert (maker().autoflush, maker().expire_on_commit) == (True, False)


def test_sqlalchemy_keeps_the_listeners_of_a_session_class_in_its_dispatch() -> None:
    """A later test gets the same subclass, and its base's listeners, but not those of a test."""

    class Parent(Session):
        pass

    class Base(Parent):
        pass

    calls: list[str] = []
    event.listen(Parent, "after_soft_rollback", lambda *_: None)
    with session_subclass(Base, Session.__init__) as first:
        first().close()
    event.listen(Base, "after_soft_rollback", lambda *_: calls.append("base"))
    with session_subclass(Base, Session.__init__) as second:
        event.listen(second, "after_soft_rollback", lambda *_: calls.append("second"))
    with session_subclass(Base, Session.__init__) as third:
        third().dispatch.after_soft_rollback(None, None)

    assert first is second is not third
    assert calls == ["base"]


@pytest.mark.parametrize("scope", [None, lambda: "one scope"])
def test_sqlalchemy_keeps_the_sessions_of_a_scoped_session_in_its_registry(scope: Any) -> None:
    scoped = scoped_session(sessionmaker(), scopefunc=scope)
    before = scoped()

    with empty_registry(scoped):
        assert scoped() is scoped() is not before

    assert scoped() is before


def test_asyncio_runs_a_runner_in_frames_that_know_its_loop() -> None:
    async def fail() -> None:
        raise LookupError

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        with pytest.raises(LookupError) as raised:
            runner.run(fail())

    frames = [entry.frame.raw for entry in raised.traceback]
    loops = [asyncio_internals.running_loop_of_frame(each) for each in frames]
    assert loop in loops


def test_asyncpg_keeps_the_loop_of_a_connection() -> None:
    assert "_loop" in asyncpg.Connection.__slots__
