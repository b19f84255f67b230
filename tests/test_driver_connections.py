"""A test receives connections without changes that earlier tests made to the driver's objects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any

import psycopg.rows
import psycopg.types.string
import pytest
from sqlalchemy import Connection, Engine, event, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Session
from sqlalchemy.util import greenlet_spawn

from pytest_pgtemplate._engines.pool import AsyncPooledEngine, SyncPooledEngine
from support.programs import load_program
from support.projects import PLAIN, Project

BACKEND = select(func.pg_backend_pid())


def nothing(engine: Engine) -> None:
    engine.connect().close()
    with engine.connect() as connection:
        connection.info["theirs"] = 1
        connection.execute(text("SELECT 1"))
        connection.rollback()
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("SELECT 2"))
        connection.execute(text("SET work_mem = '1MB'"))


def raw(engine: Engine) -> None:
    connection = engine.raw_connection()
    connection.cursor().execute("SELECT 1")
    connection.close()


def raw_and_then_used(engine: Engine) -> None:
    raw(engine)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def detached(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.detach()
        connection.execute(text("SET work_mem = '1MB'"))
        connection.rollback()


def driver(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.connection.driver_connection is not None


def autocommit(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.rollback()
        dbapi: Any = connection.connection.dbapi_connection
        dbapi.autocommit = True


def adapter(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        dbapi: Any = connection.connection.dbapi_connection
        if hasattr(dbapi, "adapters"):
            dbapi.adapters.register_loader("int4", psycopg.types.string.TextLoader)
        elif hasattr(dbapi, "string_types"):
            extensions = import_module("psycopg2.extensions")
            as_text = extensions.new_type((23,), "AS_TEXT", lambda value, _: value)
            extensions.register_type(as_text, dbapi)
        else:
            dbapi.register_in_adapter(23, str)


def attribute(engine: Engine, names: tuple[str, ...], value: Any) -> None:
    """Set an attribute of the driver's connection, which drivers name differently."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.rollback()
        dbapi = connection.connection.dbapi_connection
        setattr(dbapi, next((name for name in names if hasattr(dbapi, name)), names[0]), value)


def read_only(engine: Engine) -> None:
    attribute(engine, ("read_only", "readonly"), value=True)


def isolation_level(engine: Engine) -> None:
    attribute(engine, ("isolation_level",), 3)


def deferrable(engine: Engine) -> None:
    attribute(engine, ("deferrable",), value=True)


def notices(engine: Engine) -> None:
    attribute(engine, ("notices",), [])


def raw_cursor(engine: Engine, statement: str) -> None:
    """In a transaction of SQLAlchemy, which does not see this statement."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.connection.cursor().execute(statement)
        connection.commit()


def raw_prepared(engine: Engine) -> None:
    raw_cursor(engine, "PREPARE theirs AS SELECT 1")


def raw_setting(engine: Engine) -> None:
    raw_cursor(engine, "SET app.tenant = 'mine'")


def raw_setting_through_a_session(engine: Engine) -> None:
    with Session(engine) as session:
        session.connection().connection.cursor().execute("SET app.tenant = 'mine'")
        session.commit()


def raw_setting_in_a_listener(engine: Engine) -> None:
    @event.listens_for(engine, "begin")
    def set_tenant(connection: Connection) -> None:
        connection.connection.cursor().execute("SET app.tenant = 'mine'")

    with engine.begin() as connection:
        connection.execute(text("SELECT 1"))


def prepared(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("PREPARE theirs AS SELECT 1"))
        connection.commit()


def deallocated(engine: Engine) -> None:
    """A driver goes on to use the statements that it has prepared."""
    with engine.connect() as connection:
        for _ in range(9):  # psycopg prepares a statement when it executes it for the sixth time
            connection.execute(text("SELECT 7 AS n"))
        connection.execute(text("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$"))
        connection.commit()


def seeded(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT setseed(0.5)"))
        connection.commit()


def custom_setting(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("set local app.tenant = 'mine'"))


def custom_setting_by_function(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(select(func.set_config("app.tenant", "mine", False)))
        connection.commit()


def row_factory(engine: Engine) -> None:
    attribute(engine, ("row_factory", "cursor_factory"), None)


def never_prepare(engine: Engine) -> None:
    attribute(engine, ("prepare_threshold", "cursor_factory", "row_factory"), None)


def notice_handler(engine: Engine) -> None:
    with engine.connect() as connection:
        dbapi: Any = connection.connection.dbapi_connection
        if hasattr(dbapi, "add_notice_handler"):
            dbapi.add_notice_handler(len)


def connect_listener(engine: Engine) -> None:
    event.listen(engine, "connect", lambda dbapi, _: vars(engine).setdefault("seen", dbapi))
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def backend(engine: Engine) -> int:
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 7 AS n")).scalar() == 7
        names = connection.execute(text("SELECT name FROM pg_prepared_statements WHERE from_sql"))
        assert names.all() == []
        assert connection.scalar(text("SELECT current_setting('app.tenant', true)")) is None
        assert connection.info == {}
        return int(connection.scalar(BACKEND) or 0)


CHANGES = [
    *(raw, raw_and_then_used, detached, driver, autocommit, adapter, prepared),
    *(deallocated, seeded),
    *(custom_setting, custom_setting_by_function, connect_listener),
    *(read_only, isolation_level, deferrable, notices),
    *(raw_prepared, raw_setting, raw_setting_through_a_session, raw_setting_in_a_listener),
    *(row_factory, never_prepare, notice_handler),
]


@pytest.mark.parametrize("act", CHANGES)
def test_driver_changes_of_a_sync_test_do_not_reach_the_next(
    sync_pool: SyncPooledEngine, act: Callable[[Engine], None]
) -> None:
    before = backend(sync_pool.engine_for_test())
    sync_pool.reset_sessions()
    act(sync_pool.engine_for_test())
    sync_pool.reset_sessions()
    assert backend(sync_pool.engine_for_test()) != before


@pytest.mark.parametrize("act", [raw, raw_setting, read_only, autocommit])
def test_driver_changes_through_pg_shared_do_not_reach_the_next_test(
    sync_pool: SyncPooledEngine, act: Callable[[Engine], None]
) -> None:
    engine = sync_pool.engine_for_test()
    before = backend(engine)
    sync_pool.reset_idle_sessions()
    act(engine)
    sync_pool.reset_idle_sessions()
    assert backend(engine) != before


def test_connect_listeners_of_classes_are_called_after_each_reset(
    sync_pool: SyncPooledEngine,
) -> None:
    """SQLAlchemy's recipe for a search path: ``listens_for(Engine, "connect")``."""

    def set_path(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("SET work_mem = '7MB'")
        cursor.close()
        connection.commit()

    event.listen(Engine, "connect", set_path)
    try:
        for _ in range(3):
            engine = sync_pool.engine_for_test()
            with engine.connect() as connection:
                assert connection.scalar(text("SHOW work_mem")) == "7MB"
            sync_pool.reset_sessions()
    finally:
        event.remove(Engine, "connect", set_path)


def test_a_sync_test_that_changes_nothing_keeps_the_connection(sync_pool: SyncPooledEngine) -> None:
    before = backend(sync_pool.engine_for_test())
    for _ in range(2):
        sync_pool.reset_sessions()
        nothing(sync_pool.engine_for_test())
    sync_pool.reset_sessions()
    assert backend(sync_pool.engine_for_test()) == before


async def codec(connection: Any) -> None:
    if hasattr(connection, "set_type_codec"):
        await connection.set_type_codec("int4", encoder=str, decoder=str, schema="pg_catalog")


async def async_raw(connection: AsyncConnection) -> None:
    taken: Any = await connection.get_raw_connection()
    await codec(taken.driver_connection)


async def async_adapted(connection: AsyncConnection) -> None:
    taken: Any = await connection.get_raw_connection()
    await codec(taken.dbapi_connection.driver_connection)


async def async_run(connection: AsyncConnection) -> None:
    def act(sync: Connection) -> None:
        dbapi: Any = sync.connection.dbapi_connection
        dbapi.run_async(codec)

    await connection.execute(text("SELECT 1"))
    await connection.run_sync(act)


async def async_driver(connection: AsyncConnection) -> Any:
    await connection.execute(text("SELECT 1"))
    await connection.rollback()
    return (await connection.get_raw_connection()).driver_connection


async def async_row_factory(connection: AsyncConnection) -> None:
    driver = await async_driver(connection)
    if hasattr(driver, "row_factory"):
        driver.row_factory = psycopg.rows.dict_row


async def async_adapter(connection: AsyncConnection) -> None:
    driver = await async_driver(connection)
    if hasattr(driver, "adapters"):
        driver.adapters.register_loader("int4", psycopg.types.string.TextLoader)
    else:
        await driver.set_builtin_type_codec("int4", codec_name="int4", schema="pg_catalog")


async def async_autocommit(connection: AsyncConnection) -> None:
    driver = await async_driver(connection)
    if hasattr(driver, "set_autocommit"):
        await driver.set_autocommit(True)


async def async_listeners(connection: AsyncConnection) -> None:
    driver = await async_driver(connection)
    if hasattr(driver, "add_notice_handler"):
        driver.add_notice_handler(len)
        driver.add_notify_handler(len)
    else:
        await driver.add_listener("channel", len)
        driver.add_log_listener(len)
        driver.add_termination_listener(len)


async def async_raw_setting(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT 1"))
    taken = await connection.get_raw_connection()
    await greenlet_spawn(lambda: taken.cursor().execute("SET app.tenant = 'mine'"))
    await connection.commit()


async def async_sync_setting(connection: AsyncConnection) -> None:
    def act(sync: Connection) -> None:
        sync.connection.cursor().execute("SET app.tenant = 'mine'")

    await connection.execute(text("SELECT 1"))
    await connection.run_sync(act)
    await connection.commit()


async def async_prepared(connection: AsyncConnection) -> None:
    await connection.execute(text("PREPARE theirs AS SELECT 1"))
    await connection.commit()


async def async_deallocated(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT 7 AS n"))
    await connection.execute(text("DEALLOCATE ALL"))
    await connection.commit()


async def async_custom_setting(connection: AsyncConnection) -> None:
    await connection.execute(text("SET app.tenant TO 'mine'"))
    await connection.commit()


async def async_nothing(connection: AsyncConnection) -> None:
    await connection.run_sync(lambda sync: sync.info.update(theirs=1))
    await connection.execute(text("SELECT 1"))


ASYNC_CHANGES = [
    *(async_raw, async_adapted, async_run, async_prepared, async_deallocated),
    *(async_custom_setting, async_raw_setting, async_sync_setting, async_row_factory),
    *(async_adapter, async_autocommit, async_listeners),
]


@pytest.mark.parametrize("act", ASYNC_CHANGES)
@pytest.mark.parametrize("shared", [False, True])
def test_driver_changes_of_an_async_test_do_not_reach_the_next(
    pool: AsyncPooledEngine, act: Callable[[AsyncConnection], Any], *, shared: bool
) -> None:
    _async_backends(pool, act, kept=False, reset="reset_idle_sessions" if shared else None)


def test_an_async_test_that_changes_nothing_keeps_the_connection(pool: AsyncPooledEngine) -> None:
    _async_backends(pool, async_nothing, kept=True)


def _async_backends(
    pool: AsyncPooledEngine,
    act: Callable[[AsyncConnection], Any],
    *,
    kept: bool,
    reset: str | None = None,
) -> None:
    loop = asyncio.new_event_loop()

    async def backend() -> int:
        async with pool.engine_for_test().connect() as connection:
            assert await connection.scalar(text("SELECT 7 AS n")) == 7
            setting = text("SELECT current_setting('app.tenant', true)")
            assert await connection.scalar(setting) is None
            assert (await connection.run_sync(lambda sync: sync.info)) == {}
            return int(await connection.scalar(BACKEND) or 0)

    async def change() -> None:
        async with pool.engine_for_test().connect() as connection:
            await act(connection)

    try:
        before = loop.run_until_complete(backend())
        getattr(pool, reset or "reset_sessions")()
        loop.run_until_complete(change())
        getattr(pool, reset or "reset_sessions")()
        assert (loop.run_until_complete(backend()) == before) == kept
    finally:
        loop.close()


def test_a_listener_that_every_test_adds_costs_no_connection(sync_pool: SyncPooledEngine) -> None:
    """A fixture that wraps pg_engine adds such a listener: its function is new in each test."""

    def engine() -> Engine:
        made = sync_pool.engine_for_test()
        limit = "5s"

        def limit_time(dbapi: Any, _: object) -> None:
            dbapi.cursor().execute(f"SET statement_timeout = '{limit}'")

        event.listen(made, "connect", limit_time)
        return made

    before = backend(engine())
    sync_pool.reset_sessions()
    assert backend(engine()) == before
    sync_pool.reset_sessions()
    assert backend(sync_pool.engine_for_test()) != before


def test_connections_in_use_by_a_shared_fixture_are_not_reset(sync_pool: SyncPooledEngine) -> None:
    engine = sync_pool.engine_for_test()
    with engine.connect() as held:
        held.execute(text("SET application_name = 'of the fixture'"))
        with engine.connect() as other:
            other.execute(text("SET application_name = 'of a test'"))
            other.commit()
        sync_pool.reset_idle_sessions()
        name = text("SELECT current_setting('application_name')")
        assert held.scalar(name) == "of the fixture"
        with engine.connect() as other:
            assert other.scalar(name) != "of a test"


MODELS = load_program("driver_connections/models.py")
SESSIONS = load_program("driver_connections/sessions.py")


@pytest.fixture
def base(project: Project) -> Project:
    project.ini(pythonpath=".", asyncio_mode="auto", asyncio_default_test_loop_scope="session")
    project.write("conftest.py", MODELS)
    project.write("schema.sql", "CREATE TABLE product (id serial PRIMARY KEY, name text UNIQUE);")
    return project


def run(base: Project, *arguments: str) -> pytest.RunResult:
    plain = [option for option in PLAIN if "asyncio" not in option]
    return base.pytester.runpytest_subprocess(*plain, *arguments, timeout=120)


@pytest.mark.parametrize("isolation", ["truncate", "rollback"])
def test_a_session_that_survives_its_test_holds_no_objects(base: Project, isolation: str) -> None:
    base.write("test_it.py", SESSIONS)
    run(base, "--pg-isolation", isolation).assert_outcomes(passed=5)


LISTENS = load_program("driver_connections/listens.py")


@pytest.mark.parametrize("isolation", ["truncate", "rollback"])
def test_a_listener_on_the_engine_gets_the_events_of_the_session(
    base: Project, isolation: str
) -> None:
    base.write("test_it.py", LISTENS)
    run(base, "--pg-isolation", isolation).assert_outcomes(passed=7)
