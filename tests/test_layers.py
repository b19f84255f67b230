"""Layers: the rows of a fixture wider than ``function`` exist for the tests of its scope only."""

from __future__ import annotations

import pytest

from support.kinds import KINDS
from support.projects import ITEM, PLAIN, Project, load_program, query

CONFTEST = load_program("layers/root_conftest.py")
IMPORT = "import pytest\nfrom conftest import add, names, write\n"

# A test may write anything: the next test finds the rows of the fixture unchanged.
TESTS = """
@pytest.mark.parametrize("n", range(3))
def test_each(n, shared, pg):
    assert names(pg) == "changed shared twice twice"
    write(pg, "DELETE FROM item WHERE id > 2", "UPDATE item SET name = 'mine'")
    add(pg, "mine")
"""
AFTERWARDS = """
def test_after(pg):
    assert names(pg) == "reference"
    write(pg, "INSERT INTO item (name) VALUES ('next')")
    import psycopg
    with psycopg.connect(pg.dsn) as connection:
        assert connection.execute("SELECT max(id) FROM item").fetchone() == (2,)
"""


@pytest.fixture
def items(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.prepare_template()
    project.ini(pythonpath=".")
    project.write("conftest.py", CONFTEST)
    return project


def write(items: Project, name: str, text: str) -> None:
    items.write(name, IMPORT + text)


def passes(items: Project, passed: int, *arguments: str) -> pytest.RunResult:
    result = items.run(*arguments)
    result.assert_outcomes(passed=passed)
    return result


@pytest.mark.full("values")
@pytest.mark.parametrize("project", KINDS, indirect=True, ids=str)
def test_rows_of_a_fixture_are_there_for_each_test_of_its_scope_and_no_other(
    items: Project,
) -> None:
    write(items, "test_a.py", TESTS)
    write(items, "test_b.py", AFTERWARDS)

    passes(items, 4)


WAYS = {
    "async": """
@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(pg_shared):
    async with pg_shared.sessionmaker.begin() as session:
        await session.execute(INSERT)
""",
    "sync": """
@pytest.fixture(scope="module")
def filled(pg_shared):
    with pg_shared.sync_sessionmaker.begin() as session:
        session.execute(INSERT)
""",
    "engine of one's own": """
@pytest.fixture(scope="module")
def filled(pg_url):
    from sqlalchemy import create_engine
    engine = create_engine(pg_url.replace("+asyncpg", "+psycopg"))
    with engine.begin() as connection:
        connection.execute(INSERT)
    engine.dispose()
""",
    "asyncpg": """
@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def filled(pg_shared):
    import asyncpg
    connection = await asyncpg.connect(pg_shared.dsn)
    await connection.execute(str(INSERT))
    await connection.close()
""",
    "setup_module": """
def setup_module():
    import os
    write(Database, str(INSERT))

@pytest.fixture
def filled(): ...
""",
    "setup_class": """
class TestClass:
    @classmethod
    def setup_class(cls):
        write(Database, str(INSERT))

    def test_a(self, pg): assert names(pg) == "a reference"

    def test_b(self, pg): assert names(pg) == "a reference"

@pytest.fixture
def filled(pg): add(pg, "a")
""",
    "asked for by name, without pg": """
@pytest.fixture(scope="module")
def filled(request):
    write(request.getfixturevalue("pg_database"), str(INSERT))
""",
}


def test_a_layer_contains_writes_through_any_connection(items: Project) -> None:
    items.ini(pythonpath=".", pg_env="DATABASE_URL", pg_autouse="true")
    head = """
    import os
    import pytest_asyncio
    from sqlalchemy import text
    INSERT = text("INSERT INTO item (name) VALUES ('a')")

    class Database:
        dsn = os.environ["DATABASE_URL"].replace("+asyncpg", "")
    """
    body = """
    @pytest.mark.parametrize("n", range(2))
    def test_filled(n, filled, pg):
        assert names(pg) == "a reference"
        add(pg, "mine")
    """
    for n, way in enumerate(WAYS.values()):
        text = IMPORT + _dedent(head) + way + _dedent(body)
        (items.root / f"test_{n}_a.py").write_text(text)
        write(items, f"test_{n}_b.py", AFTERWARDS)

    result = items.pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:anyio")

    in_classes = 2  # of setup_class
    result.assert_outcomes(passed=3 * len(WAYS) + in_classes)


def _dedent(text: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in text.splitlines()) + "\n"


def test_a_session_fixture_may_be_set_up_after_a_module_fixture(items: Project) -> None:
    write(
        items,
        "test_a.py",
        """
def test_one(shared, pg): assert names(pg) == "changed shared twice twice"

def test_two(shared, base, pg):
    assert names(pg) == "base changed shared twice twice"
    write(pg, "DELETE FROM item")

def test_three(shared, pg): assert names(pg) == "base changed shared twice twice"
""",
    )
    write(items, "test_b.py", 'def test_b(pg, base): assert names(pg) == "base reference"\n')

    passes(items, 4)


def test_a_fixture_that_a_test_requests_in_the_middle_becomes_a_layer(items: Project) -> None:
    write(
        items,
        "test_a.py",
        load_program("layers/a_fixture_requested_in_the_middle_of_a_test.py"),
    )

    passes(items, 3)


def test_requesting_a_fixture_that_writes_during_a_transaction_is_an_error(items: Project) -> None:
    write(
        items,
        "test_a.py",
        load_program("layers/a_fixture_requested_during_a_transaction.py"),
    )

    result = items.run()

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ['*session fixture "base" wrote *while test test_a.py::test_one has a transaction open*']
    )


def test_a_fixture_may_request_another_one_after_it_has_written(items: Project) -> None:
    write(
        items,
        "test_a.py",
        """
@pytest.fixture(scope="module")
def outer(pg_database, request):
    add(pg_database, "outer")
    request.getfixturevalue("base")
    add(pg_database, "outer, too")

def test_one(outer, pg): assert names(pg) == "base outer outer, too reference"
""",
    )
    write(items, "test_b.py", 'def test_b(pg): assert names(pg) == "base reference"\n')

    passes(items, 2)


WROTE_ONCE = {
    "writes nothing more": ("", "base outer reference", {"passed": 3}),
    "fails": ("raise RuntimeError", "", {"passed": 2, "errors": 1}),
    "skips": ("pytest.skip('not today')", "", {"passed": 2, "skipped": 1}),
}


@pytest.mark.parametrize("then", WROTE_ONCE)
def test_what_a_fixture_wrote_before_it_requested_another_one_ends_with_it(
    items: Project, then: str
) -> None:
    """Its rows are a layer of its own from then on, whatever the rest of its setup does."""
    end, rows, outcomes = WROTE_ONCE[then]
    write(
        items,
        "test_a.py",
        f"""
@pytest.fixture(scope="module")
def outer(pg_database, request):
    add(pg_database, "outer")
    request.getfixturevalue("base")
    {end}

def test_one(outer, pg): assert names(pg) == "{rows}"
def test_two(pg): assert names(pg) == "{rows or "base reference"}"
""",
    )
    write(items, "test_b.py", 'def test_b(pg): assert names(pg) == "base reference"\n')

    items.run().assert_outcomes(**outcomes)


INTERRUPTED = """
import pytest
from pytest_pgtemplate._reset import Resetter

original = Resetter.add_layer
calls = []

def add_layer(self, layer):
    result = original(self, layer)
    calls.append(layer)
    if len(calls) == 1:
        pytest.fail("a timeout, as of pytest-timeout")
    return result

Resetter.add_layer = add_layer
"""


def test_a_timeout_while_a_layer_is_added_loses_no_rows(
    items: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest sets the fixture up again for the next test."""
    items.write("interrupted.py", INTERRUPTED)
    monkeypatch.syspath_prepend(items.root)
    write(
        items,
        "test_a.py",
        """
def test_one(base, pg): ...
def test_two(base, pg): assert names(pg) == "base reference"
def test_three(base, pg): assert names(pg) == "base reference"
""",
    )

    result = items.pytester.runpytest_subprocess(*PLAIN, "-p", "interrupted")

    result.assert_outcomes(passed=2, errors=1)


def test_rows_of_a_fixture_that_a_new_database_lacks_are_reported(items: Project) -> None:
    """A parametrized pg_seed builds another database, and pytest keeps the other fixtures."""
    items.ini(pythonpath=".", pg_autouse="true", pg_env="URL={url:psycopg}")
    write(
        items,
        "test_a.py",
        """
import os
import sqlalchemy

@pytest.fixture(scope="session", params=["small", "large"])
def pg_seed(request): ...

@pytest.fixture(scope="session", autouse=True)
def countries():
    engine = sqlalchemy.create_engine(os.environ["URL"])
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO item (name) VALUES ('country')"))
    engine.dispose()

@pytest.mark.parametrize("n", range(2))
def test_it(n, pg): assert names(pg) == "country reference"
""",
    )

    result = items.run()

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["passed"] >= 2
    result.stdout.fnmatch_lines(['*the rows of the session fixture "countries" were lost*'])
    result.stdout.no_fnmatch_line("*assert 'reference' == *")


REFERRING = load_program("layers/referring.py")


@pytest.mark.parametrize("upper", ["children", "updates"])
def test_a_layer_that_refers_to_a_layer_torn_down_earlier_is_an_error(
    items: Project, upper: str
) -> None:
    items.revision(
        "two",
        """
        op.execute("CREATE TABLE parent (id int PRIMARY KEY)")
        op.execute("CREATE TABLE child (parent int REFERENCES parent)")
        """,
    )
    test = f'def test_one(parents, request, pg): request.getfixturevalue("{upper}")'
    write(items, "test_a.py", f"{REFERRING}\n{test}\n")
    write(items, "test_b.py", AFTERWARDS)

    result = items.run()

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [f'*session fixture "{upper}" refers to rows of the module fixture "parents"*']
    )


ODD = {
    "fails half-way": (
        """
@pytest.fixture(scope="module")
def odd(pg_database):
    add(pg_database, "half")
    raise RuntimeError

def test_one(odd, pg): ...
def test_two(pg): assert names(pg) == "reference"
""",
        {"errors": 1, "passed": 2},
    ),
    "parametrized": (
        """
@pytest.fixture(scope="module", params=["x", "y"])
def odd(request, pg_database):
    add(pg_database, request.param)
    return request.param

def test_one(odd, pg): assert names(pg) == f"reference {odd}"
def test_two(odd, pg): assert names(pg) == f"reference {odd}"
""",
        {"passed": 5},
    ),
    "indirect": (
        """
@pytest.fixture(scope="module")
def odd(request, pg_database): add(pg_database, request.param)

@pytest.mark.parametrize("odd", ["x", "y"], indirect=True)
def test_one(odd, pg, request):
    assert names(pg) == "reference " + request.node.callspec.params["odd"]
""",
        {"passed": 3},
    ),
    "overridden": (
        """
@pytest.fixture(scope="module")
def shared(shared, pg_database): add(pg_database, "over")

def test_one(shared, pg): assert names(pg) == "changed over shared twice twice"
""",
        {"passed": 2},
    ),
    "deletes its own rows": (
        """
@pytest.fixture(scope="module")
def odd(pg_database):
    add(pg_database, "own")
    yield
    assert names(pg_database) == "own reference"
    write(pg_database, "DELETE FROM item WHERE name = 'own'", "DELETE FROM item")

def test_one(odd, pg): write(pg, "DELETE FROM item")
""",
        {"passed": 2},
    ),
    "raises in its teardown": (
        """
@pytest.fixture(scope="module")
def odd(pg_database):
    add(pg_database, "own")
    yield
    add(pg_database, "late")
    raise RuntimeError

def test_one(odd, pg): assert names(pg) == "own reference"
""",
        {"passed": 2, "errors": 1},
    ),
    "changes the schema": (
        """
@pytest.fixture(scope="module")
def odd(pg_database): write(pg_database, "CREATE TABLE extra ()")

def test_one(odd, pg): ...
""",
        {"passed": 1, "errors": 1},
    ),
    "leaves a transaction open": (
        """
import psycopg
kept = []

@pytest.fixture(scope="module")
def odd(pg_database):
    add(pg_database, "committed")
    connection = psycopg.connect(pg_database.dsn)
    connection.execute("INSERT INTO item (name) VALUES ('open')")
    kept.append(connection)

def test_one(odd, pg): ...
def test_two(pg): assert names(pg) == "reference"
""",
        {"passed": 2, "errors": 1},
    ),
    "is of a class": (
        """
class TestClass:
    @pytest.fixture(scope="class")
    def odd(self, pg_database): add(pg_database, "class")

    def test_one(self, odd, pg): assert names(pg) == "class reference"

def test_two(pg): assert names(pg) == "reference"
""",
        {"passed": 3},
    ),
    "is of a package": (
        """
@pytest.fixture(scope="package")
def odd(pg_database): add(pg_database, "package")

def test_one(odd, pg): assert names(pg) == "package reference"
""",
        {"passed": 1, "failed": 1},  # a root directory is one package: it is still up in test_b
    ),
}


@pytest.mark.parametrize(("text", "outcomes"), ODD.values(), ids=ODD)
def test_fixtures_of_every_kind_become_layers(
    items: Project, text: str, outcomes: dict[str, int]
) -> None:
    write(items, "test_a.py", text)
    write(items, "test_b.py", AFTERWARDS)

    result = items.run("-p", "no:xdist")

    result.assert_outcomes(**outcomes)
    if "errors" in outcomes and "RuntimeError" not in text:
        result.stdout.fnmatch_lines(['*the module fixture "odd" *', "*HINT: *"])


ISOLATIONS = """
@pytest.mark.parametrize("n", range(2))
@pytest.mark.pg(isolation="{}")
def test_one(n, base, shared, pg_sync_session, pg):
    assert names(pg) == "base changed shared twice twice"
    {}

def test_two(base, shared, pg): assert names(pg) == "base changed shared twice twice"
"""
DDL = 'write(pg, "DROP TABLE item")'
IN_SESSION = """
    from sqlalchemy import text
    pg_sync_session.execute(text("DELETE FROM item"))
    pg_sync_session.commit()
"""


@pytest.mark.full("values")
@pytest.mark.parametrize("project", KINDS, indirect=True, ids=str)
@pytest.mark.parametrize(
    ("isolation", "body"),
    [("clone", DDL), ("truncate", DDL), ("rollback", IN_SESSION), ("clone", "add(pg, 'mine')")],
)
def test_every_isolation_keeps_the_rows_of_shared_fixtures(
    items: Project, isolation: str, body: str
) -> None:
    write(items, "test_a.py", ISOLATIONS.format(isolation, body))
    write(items, "test_b.py", 'def test_three(pg): assert names(pg) == "base reference"\n')

    passes(items, 4)


def test_a_kept_database_and_its_replacement_contain_the_layers(items: Project) -> None:
    write(
        items,
        "test_a.py",
        """
def test_one(shared, pg):
    add(pg, "mine")
    assert False

def test_two(shared, pg): assert names(pg) == "changed shared twice twice"
""",
    )

    result = items.run("--pg-keep-failed")

    result.assert_outcomes(passed=1, failed=1)
    [kept] = [name for name in items.databases() if "_kept" in name]
    rows = query(items.server.url, "SELECT name FROM item ORDER BY name", database=kept)
    assert [row["name"] for row in rows] == ["changed", "mine", "shared", "twice", "twice"]


def test_the_writes_of_a_module_scope_stay_when_a_layer_is_removed(items: Project) -> None:
    write(
        items,
        "test_a.py",
        load_program("layers/writes_of_a_module_scope.py"),
    )
    write(items, "test_b.py", AFTERWARDS)

    passes(items, 3)


@pytest.mark.full("one")
@pytest.mark.parametrize("project", KINDS, indirect=True, ids=str)
def test_layers_lost_with_the_connection_are_set_up_again(items: Project) -> None:
    write(
        items,
        "test_a.py",
        """
def test_one(shared, pg):
    write(pg, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
              " WHERE datname = current_database() AND application_name LIKE 'pytest-pgt% reset'")
    write(pg, "CREATE TABLE extra ()")

def test_two(shared, pg): assert names(pg) == "changed shared twice twice"
def test_three(pg): assert names(pg) == "changed shared twice twice"
""",
    )
    items.ini(pythonpath=".", pg_tracking="scan")

    result = items.run("-rE")

    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(['*the rows of the module fixture "shared" were lost*'])


# The teardown of the first test changes the schema, so its database is re-cloned.
RECLONED = """
@pytest.fixture(scope="module", autouse=True)
def shared_rows(pg_database):
    write(pg_database, "SET app.owner = 'me'", "INSERT INTO {table} (name) VALUES ('shared')")

def test_one(pg): write(pg, "CREATE TABLE extra ()")
def test_two(pg):
    import psycopg
    with psycopg.connect(pg.dsn) as connection:
        rows = connection.execute("SELECT FROM {table} WHERE name = 'shared'").fetchall()
    assert len(rows) == 1
"""


@pytest.mark.full("values")
@pytest.mark.parametrize("project", KINDS, indirect=True, ids=str)
def test_a_reclone_with_layers_accepts_template_rows_that_violate_a_constraint(
    items: Project,
) -> None:
    items.revision(
        "two",
        """
        op.execute("INSERT INTO item (name) VALUES ('')")
        op.execute("ALTER TABLE item ADD CHECK (name <> '') NOT VALID")
        """,
    )
    write(items, "test_a.py", RECLONED.format(table="item"))

    passes(items, 2)


@pytest.mark.full("one")
@pytest.mark.parametrize("project", KINDS, indirect=True, ids=str)
def test_tests_fail_if_the_rows_of_a_layer_violate_a_constraint_after_a_reclone(
    items: Project,
) -> None:
    check = "CHECK (coalesce(current_setting('app.owner', true), '') = 'me')"
    items.revision("two", f'op.execute("CREATE TABLE private (name text, {check})")')
    write(items, "test_a.py", RECLONED.format(table="private"))
    write(items, "test_b.py", AFTERWARDS)

    result = items.run()

    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*row for relation*private*violates check constraint*"])


DISTRIBUTED = """
@pytest.mark.parametrize("n", range(6))
def test_one(n, base, shared, pg):
    assert names(pg) == "base changed shared twice twice"
    write(pg, "DELETE FROM item")
"""


@pytest.mark.full("one")
@pytest.mark.parametrize("how", ["load", "loadscope", "loadfile", "worksteal"])
def test_each_worker_has_its_own_layers(items: Project, how: str) -> None:
    for name in ("a", "b", "c"):
        write(items, f"test_{name}.py", DISTRIBUTED)

    result = items.run_workers("--dist", how)

    result.assert_outcomes(passed=18)


def test_layers_are_set_up_again_after_a_worker_crash(items: Project) -> None:
    crash = DISTRIBUTED + "\ndef test_crash(shared, pg):\n    import os\n    os._exit(1)\n"
    write(items, "test_a.py", crash + DISTRIBUTED.replace("test_one", "test_two"))

    result = items.run_workers(workers=1)

    result.assert_outcomes(passed=12, failed=1)
    assert not [name for name in items.databases() if "_tpl_" not in name]


def test_layers_work_in_runs_that_stop_early_and_continue(items: Project) -> None:
    text = """
import os
def test_one(shared, pg): add(pg, "mine")
def test_two(shared, pg):
    assert names(pg) == "changed shared twice twice"
    assert os.path.exists("mended")
def test_three(shared, pg): assert names(pg) == "changed shared twice twice"
"""
    write(items, "test_a.py", text)
    run = [option for option in PLAIN if "cacheprovider" not in option]

    for arguments in (["-x"], ["--stepwise"]):
        items.pytester.runpytest_inprocess(*run, *arguments).assert_outcomes(passed=1, failed=1)
    items.write("mended", "")
    items.pytester.runpytest_inprocess(*run, "--stepwise").assert_outcomes(passed=2, deselected=1)
    items.pytester.runpytest_inprocess(*run, "--lf").assert_outcomes(passed=3)


ASYNC = """
import pytest, pytest_asyncio
from sqlalchemy import text

{decorator}
async def shared(pg_shared):
    async with pg_shared.sessionmaker.begin() as session:
        await session.execute(text("INSERT INTO item (name) VALUES ('shared')"))
    yield
    async with pg_shared.engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM item")) == 2

class TestClass:
    @pytest.mark.parametrize("n", range(2))
    {mark}
    async def test_one(self, n, shared, pg_session):
        assert await pg_session.scalar(text("SELECT count(*) FROM item")) == 2
        await pg_session.execute(text("DELETE FROM item"))
        await pg_session.commit()
"""


@pytest.mark.full("values")
@pytest.mark.parametrize("mode", ["strict", "auto"])
@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_async_fixtures_become_layers_in_every_loop_scope_of_pytest_asyncio(
    items: Project, scope: str, mode: str
) -> None:
    decorator = f'@pytest_asyncio.fixture(scope="{scope}", loop_scope="{scope}")'
    head, test = ASYNC.split("class TestClass", 1)
    items.write("package/__init__.py", "")
    (items.root / "package" / "conftest.py").write_text(head.format(decorator=decorator))
    for loop in (scope, "function"):
        mark = f'@pytest.mark.asyncio(loop_scope="{loop}")'
        path = items.root / "package" / f"test_{loop}.py"
        path.write_text(
            "import pytest\nfrom sqlalchemy import text\n\nclass TestClass" + test.format(mark=mark)
        )

    result = items.pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-p", "no:anyio", f"--asyncio-mode={mode}"
    )

    result.assert_outcomes(passed=4)


def test_async_fixtures_become_layers_with_anyio(items: Project) -> None:
    decorator = '@pytest.fixture(scope="module")'
    text = ASYNC.format(decorator=decorator, mark="@pytest.mark.anyio").replace(
        "import pytest, pytest_asyncio", "import pytest"
    )
    backend = '\n@pytest.fixture(scope="module")\ndef anyio_backend(): return "asyncio"\n'
    (items.root / "test_a.py").write_text(text + backend)

    result = items.pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:asyncio")

    result.assert_outcomes(passed=2)


def test_setup_show_and_the_summary_show_the_layers(items: Project) -> None:
    write(items, "test_a.py", TESTS)

    shown = passes(items, 3, "--setup-show", "--pg-stats").stdout

    shown.fnmatch_lines(['*the module fixture "shared": a layer of 5 rows, *'])
    shown.fnmatch_lines(['*the module fixture "shared": set up 1 times, *, 5 rows'])


def test_a_copy_that_a_test_changes_does_not_reach_the_next(items: Project) -> None:
    write(
        items,
        "test_a.py",
        load_program("layers/a_copy_that_a_test_changes_does_not_reach_the_next.py"),
    )

    passes(items, 2)
