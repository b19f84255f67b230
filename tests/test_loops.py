"""The fixtures work in every event loop, unconfigured, and leave nothing behind in any.

Each test runs the same situations in a child run of pytest, in another kind of loop. There,
warnings are errors, including those of the garbage collector, and so is every logged error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.engine import make_url

from pytest_pgtemplate._server import Server
from support.programs import load_program
from support.projects import unique

Run = Callable[..., pytest.RunResult]

PLUGINS = {"anyio", "asyncio", "cacheprovider", "hypothesispytest", "xdist"}

MODELS = load_program("loops/models.py")

# After the teardown of a test's fixtures, and before the plugin resets the database, no session may
# be in a transaction. A server notices only after a while that a connection was cut off.
CONFTEST = load_program("loops/root_conftest.py")

ASYNC = load_program("loops/async.py")
ASYNC_TESTS = 42

SYNC = load_program("loops/sync.py")
SYNC_TESTS = 40

HYPOTHESIS = load_program("loops/hypothesis.py")

SUBTESTS = """
async def test_shares_its_session_with_its_subtests(subtests, pg_session):
    for number in range(3):
        with subtests.test(number=number):
            pg_session.add(Item(name=str(number)))
            await pg_session.commit()
    assert len((await pg_session.scalars(select(Item))).all()) == 3
"""

MIXED = load_program("loops/mixed.py")

FAILING = load_program("loops/failing.py")

TRIO = load_program("loops/trio.py")

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


@pytest.mark.full
def test_pytest_asyncio_with_every_loop_scope_by_mark(run: Run) -> None:
    modules = {scope: module(strict(scope), ASYNC, scope) for scope in SCOPES}
    result = run("asyncio", **modules)
    result.assert_outcomes(passed=len(SCOPES) * ASYNC_TESTS)


@pytest.mark.full("one")
@pytest.mark.parametrize("scope", ["function", "session"])
def test_pytest_asyncio_on_two_workers(run: Run, scope: str) -> None:
    situations = module(strict(), ASYNC, scope)
    result = run(
        "asyncio xdist", "-n2", "--dist=loadscope", *ini(scope), one=situations, two=situations
    )
    result.assert_outcomes(passed=2 * ASYNC_TESTS)


@pytest.mark.full("one")
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


@pytest.mark.full("one")
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
    result.stdout.fnmatch_lines(["*ConfigurationError: this transaction began in another*"])


@pytest.mark.full("one")
@pytest.mark.parametrize("scope", ["function", "session"])
def test_a_fixture_that_fails_in_its_teardown_leaves_nothing_to_the_next_test(
    run: Run, scope: str
) -> None:
    result = run("asyncio", *ini(scope), failing=module(strict(), FAILING))
    result.assert_outcomes(passed=2, errors=2)
