"""The pools below the fixtures: connections per event loop, their reset, and their end."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event, exc, func, select, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from pytest_pgtemplate import _urls
from pytest_pgtemplate._engines import loop_pool
from pytest_pgtemplate._engines.loop_pool import MAX_CONNECTIONS, MAX_IDLE
from pytest_pgtemplate._engines.pool import AsyncPooledEngine, SyncPooledEngine
from pytest_pgtemplate._internals.sqlalchemy import connect_on_use
from pytest_pgtemplate.errors import ConfigurationError
from support.projects import query

OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"
BACKEND = select(func.pg_backend_pid())
KILL_OTHERS = text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS}")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that several tests would share."""
    with asyncio.Runner() as runner:
        yield runner.get_loop()


def remain(url: URL, condition: str = "true") -> int:
    """How many connections are left once the server has noticed which are closed."""
    sql = f"SELECT count(*) FROM pg_stat_activity WHERE {OTHERS} AND {condition}"
    deadline = time.monotonic() + 2
    while (found := query(url, sql)[0][0]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return int(found)


def end_test(pool: AsyncPooledEngine | SyncPooledEngine) -> None:
    pool.close_open()
    pool.reset_sessions()


async def one(engine: AsyncEngine, statement: Any) -> Any:
    async with engine.connect() as connection:
        return await connection.scalar(statement)


def test_tests_in_a_loop_share_its_connection(
    pool: AsyncPooledEngine, loop: asyncio.AbstractEventLoop
) -> None:
    seen = set()
    for _ in range(3):
        seen.add(loop.run_until_complete(one(pool.engine_for_test(), BACKEND)))
        end_test(pool)
    assert len(seen) == 1


def test_connections_are_closed_before_their_loop_closes(pool: AsyncPooledEngine, url: URL) -> None:
    for _ in range(3):
        asyncio.run(one(pool.engine_for_test(), BACKEND))
        end_test(pool)
        assert remain(url) == 0


def test_connections_are_closed_before_a_loop_that_code_closes_itself(
    pool: AsyncPooledEngine, url: URL
) -> None:
    async def leave_open() -> None:
        connection = await pool.engine_for_test().connect()
        await connection.execute(select(1))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave_open())
    loop.close()

    gc.collect()  # ResourceWarning
    assert remain(url) == 0


def test_a_loop_may_be_closed_from_within_another(pool: AsyncPooledEngine, url: URL) -> None:
    def work(loop: asyncio.AbstractEventLoop) -> None:
        loop.run_until_complete(one(pool.engine_for_test(), BACKEND))

    async def main() -> None:
        loop = asyncio.new_event_loop()
        await asyncio.to_thread(work, loop)
        loop.close()

    asyncio.run(main())
    assert remain(url) == 0


def test_connections_open_in_the_loop_of_another_thread_are_closed_there(
    pool: AsyncPooledEngine, url: URL, loop: asyncio.AbstractEventLoop
) -> None:
    async def leave_open() -> None:
        connection = await pool.engine_for_test().connect()
        await connection.execute(select(1))

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(leave_open(), loop).result()
    end_test(pool)
    assert remain(url, "state <> 'idle'") == 0

    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def test_a_pool_has_the_limits_of_a_queue_pool(
    pool: AsyncPooledEngine,
) -> None:
    connections: set[object] = set()
    most = 0

    def opened(connection: object, _: object) -> None:
        nonlocal most
        connections.add(connection)
        most = max(most, len(connections))

    def closed(connection: object, _: object) -> None:
        connections.remove(connection)

    async def work(engine: AsyncEngine, all_at_once: asyncio.Barrier) -> None:
        async with engine.connect():
            await all_at_once.wait()

    async def main() -> None:
        engine, all_at_once = pool.engine_for_test(), asyncio.Barrier(MAX_CONNECTIONS)
        event.listen(engine.sync_engine, "connect", opened)
        event.listen(engine.sync_engine, "close", closed)
        await asyncio.gather(*(work(engine, all_at_once) for _ in range(3 * MAX_CONNECTIONS)))
        assert most == MAX_CONNECTIONS
        assert len(connections) == MAX_IDLE

    asyncio.run(main())
    assert not connections


def test_a_checkout_that_times_out_raises(
    pool: AsyncPooledEngine, sync_pool: SyncPooledEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_pool, "CHECKOUT_TIMEOUT", 0.01)
    monkeypatch.setattr(loop_pool, "MAX_CONNECTIONS", 1)

    async def wait() -> None:
        async with (engine := pool.engine_for_test()).connect():
            with pytest.raises(exc.TimeoutError):
                await engine.connect()
        await one(engine, BACKEND)

    asyncio.run(wait())
    with (sync_engine := sync_pool.engine_for_test()).connect(), pytest.raises(exc.TimeoutError):
        sync_engine.connect()
    sync_engine.connect().close()


STATE = pytest.mark.parametrize(
    ("leave", "probe"),
    [
        ("SET search_path = pg_catalog", "SHOW search_path"),
        ("SET ROLE pg_monitor", "SELECT current_user::text"),
        ("SET SESSION AUTHORIZATION pg_monitor", "SELECT session_user::text"),
        ("LISTEN mine", "SELECT count(*) FROM pg_listening_channels()"),
        ("DECLARE mine CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) FROM pg_cursors"),
        (
            "SELECT pg_advisory_lock(1)",
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        ),
    ],
)


@STATE
def test_the_session_of_an_async_test_is_reset(
    pool: AsyncPooledEngine, loop: asyncio.AbstractEventLoop, leave: str, probe: str
) -> None:
    async def test(statement: str | None = None) -> tuple[Any, Any]:
        async with pool.engine_for_test().connect() as connection:
            if statement is not None:
                await connection.execute(text(statement))
                await connection.commit()
            found = await connection.scalar(text(probe))
            return await connection.scalar(BACKEND), found

    before = loop.run_until_complete(test())
    assert loop.run_until_complete(test(leave)) != before
    end_test(pool)
    assert loop.run_until_complete(test()) == before


@STATE
def test_the_session_of_a_sync_test_is_reset(
    sync_pool: SyncPooledEngine, leave: str, probe: str
) -> None:
    def test(statement: str | None = None) -> tuple[Any, Any]:
        with sync_pool.engine_for_test().connect() as connection:
            if statement is not None:
                connection.execute(text(statement))
                connection.commit()
            found = connection.scalar(text(probe))
            return connection.scalar(BACKEND), found

    before = test()
    assert test(leave) != before
    end_test(sync_pool)
    assert test() == before


def test_a_temporary_table_with_other_columns_in_each_async_test(
    pool: AsyncPooledEngine, loop: asyncio.AbstractEventLoop
) -> None:
    """The driver has prepared the query for the columns of the first one."""

    async def test(columns: str) -> Any:
        async with pool.engine_for_test().connect() as connection:
            await connection.execute(text(f"CREATE TEMP TABLE mine AS SELECT {columns}"))
            return (await connection.execute(text("SELECT * FROM mine"))).all()

    assert loop.run_until_complete(test("1 AS a")) == [(1,)]
    end_test(pool)
    assert loop.run_until_complete(test("'x' AS a, 2 AS b")) == [("x", 2)]


def test_a_temporary_table_with_other_columns_in_each_sync_test(
    sync_pool: SyncPooledEngine,
) -> None:
    """psycopg prepares a query that was executed five times."""
    for columns, row in (("1 AS a", (1,)), ("'x' AS a, 2 AS b", ("x", 2))):
        with sync_pool.engine_for_test().connect() as connection:
            connection.execute(text(f"CREATE TEMP TABLE mine AS SELECT {columns}"))
            for _ in range(9):
                assert connection.execute(text("SELECT * FROM mine")).all() == [row]
        end_test(sync_pool)


def test_a_sync_session_is_reset_in_one_round_trip(url: URL, tmp_path: Path) -> None:
    """Not in a transaction, whose BEGIN and COMMIT would be two more."""
    pool = SyncPooledEngine(_urls.for_driver(url, "psycopg"), {})
    opened: list[psycopg.Connection[Any]] = []
    event.listen(pool.engine, "connect", lambda dbapi, _: opened.append(dbapi))
    with pool.engine_for_test().connect() as connection:
        connection.execute(text("SELECT 1"))
    [driver] = opened

    with (tmp_path / "trace").open("w") as trace:
        driver.pgconn.trace(trace.fileno())
        end_test(pool)
        driver.pgconn.untrace()

    pool.close()
    replies = (tmp_path / "trace").read_text()
    assert replies.count("ReadyForQuery") == 1, replies
    assert not driver.autocommit


@pytest.mark.parametrize("name", ["connect", "checkout", "handle_error", "before_cursor_execute"])
def test_a_listener_gets_only_the_events_of_its_own_test(
    pool: AsyncPooledEngine, loop: asyncio.AbstractEventLoop, name: str
) -> None:
    events: list[int] = []

    async def test(number: int) -> None:
        engine = pool.engine_for_test()
        event.listen(engine.sync_engine, name, lambda *_: events.append(number))
        for _ in range(2):
            with pytest.raises(exc.DBAPIError):
                await one(engine, text("SELECT 1 / 0"))

    for number in range(3):
        loop.run_until_complete(test(number))
        end_test(pool)
    times = 1 if name == "connect" else 2
    assert events == [number for number in range(3) for _ in range(times)]


def test_connect_listeners_of_every_test_are_called_for_a_pooled_connection(
    sync_pool: SyncPooledEngine,
) -> None:
    def configure(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("SET my.tenant = 'one'")
        cursor.close()
        connection.commit()

    def test(engine: Engine) -> tuple[Any, Any]:
        with engine.connect() as connection:
            tenant = connection.scalar(text("SELECT current_setting('my.tenant', true)"))
            return connection.scalar(BACKEND), tenant

    listened = []
    for _ in range(2):
        engine = sync_pool.engine_for_test()
        event.listen(engine, "connect", configure)
        listened.append(test(engine))
        end_test(sync_pool)
    backend, tenant = listened[0]
    assert listened == [(backend, "one")] * 2
    assert tenant == "one"
    without, tenant = test(sync_pool.engine_for_test())
    assert (without != backend, tenant) == (True, None)


def test_a_connection_that_was_killed_in_a_test_is_replaced_for_the_next(
    pool: AsyncPooledEngine, loop: asyncio.AbstractEventLoop
) -> None:
    async def kill(engine: AsyncEngine) -> None:
        async with engine.connect() as connection, engine.connect() as other:
            await other.execute(select(1))
            await other.rollback()
            await connection.execute(KILL_OTHERS)

    async def work(engine: AsyncEngine) -> None:
        async with engine.connect() as connection, engine.connect() as other:
            await connection.execute(select(1))
            await other.execute(select(1))

    loop.run_until_complete(kill(pool.engine_for_test()))
    end_test(pool)
    loop.run_until_complete(work(pool.engine_for_test()))


def test_a_connection_that_the_server_closed_between_two_tests_is_replaced(
    pool: AsyncPooledEngine, url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role may have an ``idle_session_timeout``, and a test without a database takes its time."""
    monkeypatch.setattr(loop_pool, "CHECK_AFTER", 0.0)
    with asyncio.Runner() as runner:
        runner.run(one(pool.engine_for_test(), BACKEND))
        end_test(pool)
        query(url, KILL_OTHERS.text)
        assert remain(url) == 0
        runner.run(one(pool.engine_for_test(), BACKEND))


def test_a_sync_connection_that_the_server_closed_between_two_tests_is_replaced(
    sync_pool: SyncPooledEngine, url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_pool, "CHECK_AFTER", 0.0)
    for _ in range(2):
        with sync_pool.engine_for_test().connect() as connection:
            connection.execute(select(1))
        end_test(sync_pool)
        query(url, KILL_OTHERS.text)
        assert remain(url) == 0


def test_a_query_of_a_task_that_outlives_its_test_is_ended(
    pool: AsyncPooledEngine, url: URL, loop: asyncio.AbstractEventLoop
) -> None:
    connected = asyncio.Event()

    async def sleep() -> None:
        async with pool.engine_for_test().connect() as connection:
            connected.set()
            await connection.execute(text("SELECT pg_sleep(60)"))

    async def test() -> asyncio.Task[None]:
        task = asyncio.create_task(sleep())
        await connected.wait()
        await asyncio.sleep(0.1)  # the query may be under way or not
        return task

    task = loop.run_until_complete(test())
    end_test(pool)
    assert remain(url, "state <> 'idle'") == 0
    loop.run_until_complete(asyncio.wait([task]))
    assert task.exception() is not None


def test_a_query_of_a_thread_that_outlives_its_test_is_ended(
    sync_pool: SyncPooledEngine, url: URL
) -> None:
    ended: list[BaseException] = []

    def sleep() -> None:
        try:
            with sync_pool.engine_for_test().connect() as connection:
                connection.execute(text("SELECT pg_sleep(20)"))
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=sleep)
    thread.start()
    active = f"SELECT FROM pg_stat_activity WHERE {OTHERS} AND wait_event = 'PgSleep'"
    while not query(url, active):
        assert thread.is_alive()
    end_test(sync_pool)
    assert remain(url, "state <> 'idle'") == 0
    thread.join()
    assert ended


def test_sessions_of_any_maker_are_closed(
    pool: AsyncPooledEngine, url: URL, loop: asyncio.AbstractEventLoop
) -> None:
    class Mine(AsyncSession):
        pass

    async def test() -> Mine:
        session = async_sessionmaker(pool.engine_for_test(), class_=Mine)()
        await session.execute(select(1))
        return session

    session = loop.run_until_complete(test())
    end_test(pool)
    assert not session.in_transaction()
    assert remain(url, "state <> 'idle'") == 0


def test_a_generator_that_a_test_dropped_can_finish(
    pool: AsyncPooledEngine, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    async def sessions() -> AsyncIterator[AsyncSession]:
        async with async_sessionmaker(pool.engine_for_test())() as session:
            yield session

    async def test() -> None:
        async for session in sessions():
            await session.execute(text("CREATE TEMP TABLE mine (id int)"))
            break

    for _ in range(5):
        loop.run_until_complete(test())
        end_test(pool)
    gc.collect()
    assert caplog.messages == []


def test_a_session_can_be_used_in_one_loop_after_the_other(pool: AsyncPooledEngine) -> None:
    session = async_sessionmaker(pool.engine_for_test())()
    for _ in range(2):
        asyncio.run(session.execute(select(1)))


def test_a_connection_can_be_used_in_one_loop_after_the_other(pool: AsyncPooledEngine) -> None:
    connection = connect_on_use(pool.engine_for_test())
    for _ in range(2):
        asyncio.run(connection.execute(select(1)))


def test_a_connection_works_with_and_without_start(pool: AsyncPooledEngine) -> None:
    async def test() -> None:
        connection = connect_on_use(pool.engine_for_test())
        assert await connection.scalar(select(1)) == 1
        assert await connection is connection
        async with connection as same:
            assert await same.scalar(select(1)) == 1

    asyncio.run(test())


def test_a_transaction_cannot_be_used_in_another_loop(
    pool: AsyncPooledEngine, loop: asyncio.AbstractEventLoop
) -> None:
    session = async_sessionmaker(pool.engine_for_test())()
    loop.run_until_complete(session.execute(select(1)))
    with pytest.raises(ConfigurationError, match="another event loop"):
        asyncio.run(session.execute(select(1)))
    loop.run_until_complete(session.execute(select(1)))


def test_without_a_loop_there_is_no_async_connection(pool: AsyncPooledEngine) -> None:
    with pytest.raises(ConfigurationError, match="outside of an asyncio event loop"):
        pool.engine_for_test().sync_engine.connect()
