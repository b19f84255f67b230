"""The fixtures work in every event loop, unconfigured, and leave nothing behind in any.

Each test is a child pytest run of the same situations, told to take place in another kind of loop.
Warnings are errors there, also those that come out of the garbage collector, and so is every error
that is only logged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.engine import make_url

from pytest_pgtemplate._server import Server
from support.projects import unique

Run = Callable[..., pytest.RunResult]

PLUGINS = {"anyio", "asyncio", "cacheprovider", "hypothesispytest", "xdist"}

MODELS = """
from sqlalchemy import text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)

COUNT_BACKENDS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name NOT LIKE 'pytest-pgtemplate%'"
)
"""

# After the fixtures of a test have ended, and before the plugin resets the database, nobody may be
# in a transaction. A server notices only after a while that a connection was cut off.
CONFTEST = """
import logging
import time

import asyncpg
import pytest

from models import Base
from pytest_pgtemplate import Metadata
from pytest_pgtemplate._server import connection as _connect
from pytest_pgtemplate._server import portal as _portal

BUSY = '''
    SELECT state, query FROM pg_stat_activity
     WHERE datname = $1 AND state <> 'idle' AND application_name NOT LIKE 'pytest-pgtemplate%'
'''

class Complaints(logging.Handler):
    def __init__(self):
        super().__init__(logging.ERROR)
        self.texts = []

    def emit(self, record):
        self.texts.append(self.format(record))

complaints = Complaints()
logging.getLogger().addHandler(complaints)

class Watch:
    def __init__(self, url, database):
        opening = _connect.connect(url, timeout=60, application="pytest-pgtemplate watch")
        self.connection = _portal.run(opening, timeout=60)
        self.database = database

    def busy(self):
        return _portal.run(self.connection.fetch(BUSY, self.database), timeout=60)

    def close(self):
        _portal.run(self.connection.close(), timeout=60)

@pytest.fixture(scope="session")
def pg_migrations():
    return Metadata(Base.metadata)

@pytest.fixture(scope="session", autouse=True)
def watch(pg_server, pg_database, pytestconfig):
    pytestconfig.watch = Watch(pg_server.url, pg_database.name)
    pytestconfig.add_cleanup(pytestconfig.watch.close)

@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    result = yield
    deadline = time.monotonic() + 1
    while (found := item.config.watch.busy()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found == []
    assert complaints.texts == []
    return result
"""

ASYNC = """
loops, backends, heard = [], [], []

@fixture
async def item(pg_session):
    item = Item(name="mine")
    pg_session.add(item)
    await pg_session.commit()
    yield item
    await pg_session.refresh(item)
    assert item.name == "changed"

class TestAsync:
    @pytest.mark.parametrize("n", range(30))
    async def test_commits_the_same_as_the_others(self, n, pg_session):
        pg_session.add(Item(name="mine"))
        await pg_session.commit()
        loops.append(asyncio.get_running_loop())
        backends.append(await pg_session.scalar(select(func.pg_backend_pid())))
        assert await pg_session.scalar(COUNT_BACKENDS) <= 10

    async def test_shares_connections_with_those_that_share_its_loop(self):
        assert len(set(backends)) == len(set(loops))
        assert len(set(loops)) == (1 if SHARED else len(loops))

    async def test_has_a_fixture_that_comes_back_to_the_session(self, item, pg_session):
        item.name = "changed"
        await pg_session.flush()

    @pytest.mark.parametrize("n", range(2))
    async def test_leaves_everything_open(self, n, pg_session, pg_engine, pg_sessionmaker):
        pg_session.add(Item(name="session"))
        await pg_session.flush()
        connection = await pg_engine.connect()
        await connection.execute(text("INSERT INTO item (name) VALUES ('connection')"))
        another = pg_sessionmaker()
        another.add(Item(name="another"))
        await another.flush()

    async def test_drops_a_generator_half_way(self, pg_sessionmaker):
        async def sessions():
            async with pg_sessionmaker() as session:
                yield session

        async for session in sessions():
            session.add(Item(name="mine"))
            await session.flush()
            break

    async def test_writes_in_two_sessions_at_once(self, pg_sessionmaker):
        both = asyncio.Barrier(2)

        async def write(name):
            async with pg_sessionmaker.begin() as session:
                session.add(Item(name=name))
                await session.flush()
                await both.wait()

        await asyncio.wait_for(asyncio.gather(write("one"), write("two")), 10)

    async def test_takes_a_connection(self, pg_connection):
        await pg_connection.execute(text("INSERT INTO item (name) VALUES ('mine')"))
        await pg_connection.commit()
        assert await pg_connection.scalar(text("SELECT name FROM item")) == "mine"

    @pytest.mark.parametrize("n", range(2))
    async def test_hears_only_itself(self, n, pg_engine):
        heard.clear()
        for name in "before_cursor_execute", "checkout":
            event.listen(pg_engine.sync_engine, name, lambda *_: heard.append(1))
        async with pg_engine.connect() as connection:
            await connection.execute(select(1))
        assert len(heard) == 2

    @pytest.mark.parametrize("n", range(2))
    async def test_makes_a_temporary_table(self, n, pg_session):
        await pg_session.execute(text("CREATE TEMP TABLE mine (id int)"))
        await pg_session.commit()

    async def test_disposes_of_the_engine(self, pg_engine, pg_session):
        await pg_session.execute(select(1))
        await pg_engine.dispose()
        async with pg_engine.connect() as connection:
            await connection.execute(select(1))
"""
ASYNC_TESTS = 42

SYNC = """
backends = []

@pytest.fixture
def item(pg_sync_session):
    item = Item(name="mine")
    pg_sync_session.add(item)
    pg_sync_session.commit()
    yield item
    pg_sync_session.refresh(item)
    assert item.name == "changed"

class TestSync:
    @pytest.mark.parametrize("n", range(30))
    def test_commits_the_same_as_the_others(self, n, pg_sync_session):
        pg_sync_session.add(Item(name="mine"))
        pg_sync_session.commit()
        backends.append(pg_sync_session.scalar(select(func.pg_backend_pid())))

    def test_shares_a_connection_with_the_others(self):
        assert len(set(backends)) == 1

    def test_has_a_fixture_that_comes_back_to_the_session(self, item, pg_sync_session):
        item.name = "changed"
        pg_sync_session.flush()

    @pytest.mark.parametrize("n", range(2))
    def test_leaves_everything_open(
        self, n, pg_sync_session, pg_sync_engine, pg_sync_sessionmaker
    ):
        pg_sync_session.add(Item(name="session"))
        pg_sync_session.flush()
        connection = pg_sync_engine.connect()
        connection.execute(text("INSERT INTO item (name) VALUES ('connection')"))
        another = pg_sync_sessionmaker()
        another.add(Item(name="another"))
        another.flush()

    @pytest.mark.parametrize("n", range(2))
    def test_makes_a_temporary_table(self, n, pg_sync_session):
        pg_sync_session.execute(text("CREATE TEMP TABLE mine (id int)"))
        pg_sync_session.commit()

    @pytest.mark.parametrize("n", range(2))
    def test_hears_only_itself(self, n, pg_sync_engine):
        heard = []
        event.listen(pg_sync_engine, "checkout", lambda *_: heard.append(n))
        with pg_sync_engine.connect() as connection:
            connection.execute(select(1))
        assert heard == [n]

    @pytest.mark.parametrize("n", range(2))
    def test_runs_loops_of_its_own(self, n, pg_sync_session, pg_engine, pg_session, pg_connection):
        async def work(name):
            async with pg_engine.begin() as connection:
                await connection.execute(text(f"INSERT INTO item (name) VALUES ('{name}')"))
            left_open = await pg_engine.connect()
            await left_open.execute(select(Item))
            await pg_connection.execute(select(Item))
            return len((await pg_session.scalars(select(Item))).all())

        assert asyncio.run(work("one")) == 1
        assert asyncio.run(work("two")) == 2
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(work("three")) == 3
        loop.close()
        assert len(pg_sync_session.scalars(select(Item)).all()) == 3
"""
SYNC_TESTS = 40

HYPOTHESIS = """
from hypothesis import HealthCheck, given, settings, strategies

GIVEN = settings(
    max_examples=5,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

@GIVEN
@given(names=strategies.sets(strategies.sampled_from("abc"), min_size=1))
async def test_sees_what_it_wrote(pg_session, pg_engine, names):
    await pg_session.rollback()
    pg_session.add_all(Item(name=name) for name in names)
    await pg_session.flush()
    assert len((await pg_session.scalars(select(Item))).all()) == len(names)
    async with pg_engine.connect() as connection:
        assert (await connection.scalars(select(Item.name))).all() == []
"""

SUBTESTS = """
async def test_shares_its_session_with_its_subtests(subtests, pg_session):
    for number in range(3):
        with subtests.test(number=number):
            pg_session.add(Item(name=str(number)))
            await pg_session.commit()
    assert len((await pg_session.scalars(select(Item))).all()) == 3
"""

MIXED = """
@fixture
async def committed(pg_session):
    pg_session.add(Item(name="mine"))
    await pg_session.commit()
    yield
    assert len((await pg_session.scalars(select(Item))).all()) == 1

@fixture
async def begun(pg_session):
    pg_session.add(Item(name="mine"))
    await pg_session.flush()

@pytest.mark.parametrize("n", range(2))
async def test_goes_on_after_a_commit(n, committed, pg_session):
    assert len((await pg_session.scalars(select(Item))).all()) == 1
    await pg_session.commit()

async def test_leaves_its_own_transaction_open(committed, pg_sessionmaker):
    await pg_sessionmaker().scalars(select(Item))

async def test_fails_within_the_transaction_of_a_fixture(begun, pg_session):
    await pg_session.scalars(select(Item))

async def test_finds_nothing_left_of_that(pg_session):
    assert len((await pg_session.scalars(select(Item))).all()) == 0
"""

FAILING = """
@fixture
async def failing(pg_session):
    yield
    pg_session.add(Item(name="mine"))
    await pg_session.commit()
    raise RuntimeError

@pytest.mark.parametrize("n", range(2))
async def test_starts_with_an_empty_table(n, pg_session, failing):
    assert len((await pg_session.scalars(select(Item))).all()) == 0
"""

TRIO = """
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_with_the_database(anyio_backend, pg_session):
    pass

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_without(anyio_backend):
    pass
"""

IMPORTS = """
import asyncio
import pytest
from models import COUNT_BACKENDS, Item
from sqlalchemy import event, func, select, text
"""
STRICT = """
import pytest_asyncio
pytestmark = pytest.mark.asyncio({scope})
fixture = pytest_asyncio.fixture({scope})
"""
AUTO = """
fixture = pytest.fixture()
"""
# The fixture keeps the loop for the scope.
ANYIO = """
pytestmark = pytest.mark.anyio
fixture = pytest.fixture()

@pytest.fixture(scope={scope!r})
def anyio_backend():
    return "asyncio", {options!r}

@pytest.fixture(scope={scope!r}, autouse=True)
async def loop(anyio_backend):
    yield
"""
SCOPES = ["function", "class", "module", "package", "session"]


def strict(scope: str | None = None) -> str:
    return STRICT.format(scope=f"loop_scope={scope!r}" if scope else "")


def anyio(scope: str, **options: object) -> str:
    return ANYIO.format(scope=scope, options=options)


def module(how: str, body: str, scope: str = "function") -> str:
    """The text of a test module; ``scope`` is what shares a loop."""
    return f"{IMPORTS}\nSHARED = {scope != 'function'}\n{how}\n{body}"


def in_sync(body: str) -> str:
    return body.replace("async ", "").replace("await ", "").replace("pg_", "pg_sync_")


def ini(scope: str, mode: str = "strict") -> list[str]:
    """The options that choose the loop of all tests and fixtures."""
    return [
        f"-oasyncio_mode={mode}",
        f"-oasyncio_default_test_loop_scope={scope}",
        f"-oasyncio_default_fixture_loop_scope={scope}",
    ]


@pytest.fixture(scope="module")
def name(server: Server) -> Iterator[str]:
    """The child runs share a template."""
    name = unique("loops")
    yield name
    for database in server.databases():
        if database.name.startswith(f"{name}_"):
            server.drop(database.name)


@pytest.fixture
def run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, server_url: str, name: str
) -> Run:
    """Run pytest with the plugins named over the modules given, which become a package."""
    for variable in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(variable, raising=False)

    def run(
        plugins: str, *arguments: str, driver: str | None = None, **modules: str
    ) -> pytest.RunResult:
        pytester.makeini("[pytest]\npythonpath = .")
        pytester.makepyfile(models=MODELS, conftest=CONFTEST)
        package = pytester.mkpydir("shop")
        for module, text in modules.items():
            (package / f"test_{module}.py").write_text(text, "utf-8")
        url = make_url(server_url)
        if driver is not None:
            url = url.set(drivername=f"postgresql+{driver}")
        result = pytester.runpytest_subprocess(
            *("-W", "error", "-W", "ignore:The configuration option"),
            *(f"-pno:{plugin}" for plugin in PLUGINS.difference(plugins.split())),
            *("--pg-name", name, "--pg-url", url.render_as_string(hide_password=False)),
            *arguments,
        )
        assert result.stderr.str() == ""
        return result

    return run


def test_pytest_asyncio_unconfigured(run: Run) -> None:
    result = run("asyncio", situations=module(strict(), ASYNC))
    result.assert_outcomes(passed=ASYNC_TESTS)


@pytest.mark.full("values")
@pytest.mark.parametrize("mode", ["strict", "auto"])
@pytest.mark.parametrize("scope", SCOPES)
def test_pytest_asyncio_with_the_loop_scope_in_the_ini_file(
    run: Run, scope: str, mode: str
) -> None:
    how = strict() if mode == "strict" else AUTO
    result = run("asyncio", *ini(scope, mode), situations=module(how, ASYNC, scope))
    result.assert_outcomes(passed=ASYNC_TESTS)


def test_pytest_asyncio_with_every_loop_scope_by_mark(run: Run) -> None:
    modules = {scope: module(strict(scope), ASYNC, scope) for scope in SCOPES}
    result = run("asyncio", **modules)
    result.assert_outcomes(passed=len(SCOPES) * ASYNC_TESTS)


@pytest.mark.parametrize("scope", ["function", "session"])
def test_pytest_asyncio_on_two_workers(run: Run, scope: str) -> None:
    situations = module(strict(), ASYNC, scope)
    result = run(
        "asyncio xdist", "-n2", "--dist=loadscope", *ini(scope), one=situations, two=situations
    )
    result.assert_outcomes(passed=2 * ASYNC_TESTS)


@pytest.mark.parametrize("scope", ["function", "module", "session"])
def test_anyio_with_a_backend_of_every_scope(run: Run, scope: str) -> None:
    result = run("anyio", situations=module(anyio(scope), ASYNC, scope))
    result.assert_outcomes(passed=ASYNC_TESTS)


def test_uvloop(run: Run) -> None:
    pytest.importorskip("uvloop")
    how = anyio("session", use_uvloop=True)
    result = run("anyio", situations=module(how, ASYNC, "session"))
    result.assert_outcomes(passed=ASYNC_TESTS)


def test_trio_is_refused_by_name(run: Run) -> None:
    pytest.importorskip("trio")
    result = run("anyio", trio=module("", TRIO))
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["pg_engine needs asyncio, but anyio runs this test with trio"])
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "pg8000"])
def test_sync_tests_next_to_async_ones(run: Run, driver: str) -> None:
    pytest.importorskip(driver)
    modules = {"async": module(strict(), ASYNC, "session"), "sync": module("", SYNC)}
    result = run("asyncio", *ini("session"), driver=driver, **modules)
    result.assert_outcomes(passed=ASYNC_TESTS + SYNC_TESTS)


def test_sync_tests_without_an_async_plugin(run: Run) -> None:
    result = run("", situations=module("", SYNC))
    result.assert_outcomes(passed=SYNC_TESTS)


@pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
def test_hypothesis(run: Run, plugin: str) -> None:
    pytest.importorskip("hypothesis")
    how = strict() if plugin == "asyncio" else anyio("function")
    modules = {"async": module(how, HYPOTHESIS), "sync": module("", in_sync(HYPOTHESIS))}
    result = run(f"{plugin} hypothesispytest", **modules)
    result.assert_outcomes(passed=2)


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="subtests came with pytest 9")
@pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
def test_subtests(run: Run, plugin: str) -> None:
    how = strict() if plugin == "asyncio" else anyio("function")
    modules = {"async": module(how, SUBTESTS), "sync": module("", in_sync(SUBTESTS))}
    result = run(plugin, **modules)
    result.assert_outcomes(passed=2)


def test_fixtures_in_another_loop_than_the_test(run: Run) -> None:
    result = run(
        "asyncio", "-oasyncio_default_fixture_loop_scope=session", mixed=module(strict(), MIXED)
    )
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*ConfigurationError: this transaction was begun in another*"])


@pytest.mark.parametrize("scope", ["function", "session"])
def test_a_fixture_that_fails_in_its_teardown_leaves_nothing_to_the_next_test(
    run: Run, scope: str
) -> None:
    result = run("asyncio", *ini(scope), failing=module(strict(), FAILING))
    result.assert_outcomes(passed=2, errors=2)
