"""Layers: the rows of a fixture wider than ``function`` exist for the tests of its scope only."""

from __future__ import annotations

import pytest

from support.kinds import KINDS
from support.programs import load_program
from support.projects import ITEM, PLAIN, Project, query

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
    "setup_class": load_program("layers/setup_class.py"),
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


INTERRUPTED = load_program("layers/interrupted.py")


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
        load_program("layers/rows_of_a_fixture_that_a_new_database_lacks_are_reported.py"),
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
        load_program("layers/leaves_a_transaction_open.py"),
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


TORN_DOWN = """
@pytest.fixture(scope="{scope}", params={params})
def client(pg_database):
    "Its setup writes nothing."
    yield
    write(pg_database, "DELETE FROM item", "INSERT INTO item (name) VALUES ('logout')")
"""
WITHOUT_LAYER = {
    "parametrized": (
        TORN_DOWN.format(scope="module", params=["x", "y"])
        + """
def test_one(client, pg): assert names(pg) == "reference"
def test_two(client, pg): assert names(pg) == "reference"
""",
        5,
    ),
    "parametrized, in the setup of another one": (
        TORN_DOWN.format(scope="module", params=["x", "y"])
        + """
@pytest.fixture(scope="module", params=["x", "y"])
def outer(pg_database, request):
    add(pg_database, "outer")
    request.getfixturevalue("client")

def test_one(client, outer, pg): assert names(pg) == "outer reference"
""",
        5,
    ),
    "in a story": (
        """
pytestmark = pytest.mark.pg(scope="module")

class TestClass:
    def test_one(self, client, pg): add(pg, "step one")

def test_two(pg): assert names(pg) == "reference step one"
"""
        + TORN_DOWN.format(scope="class", params=None),
        3,
    ),
    "in a story that has a transaction open": (
        load_program("layers/in_a_story_that_has_a_transaction_open.py"),
        3,
    ),
    "without isolation": (
        """
pytestmark = pytest.mark.pg(isolation="none")
"""
        + TORN_DOWN.format(scope="module", params=None)
        + """
@pytest.mark.parametrize("n", range(2))
def test_one(n, client, pg): assert names(pg) == "reference"
""",
        3,
    ),
}


@pytest.mark.parametrize(("text", "passed"), WITHOUT_LAYER.values(), ids=WITHOUT_LAYER)
def test_the_next_test_does_not_find_what_the_teardown_of_a_fixture_without_a_layer_wrote(
    items: Project, text: str, passed: int
) -> None:
    write(items, "test_a.py", text)
    write(items, "test_b.py", AFTERWARDS)

    passes(items, passed)


UNFINISHED = {
    "skips": ("add(pg_database, 'half'); pytest.skip('not here')", {"skipped": 2}),
    "raises": ("add(pg_database, 'half'); raise RuntimeError", {"errors": 2}),
    "changes the schema": ("write(pg_database, 'CREATE TABLE extra ()')", {"errors": 2}),
    "fails after its layer began": (
        "add(pg_database, 'half'); request.getfixturevalue('base'); add(pg_database, 'more')"
        "; pytest.skip('not here')",
        {"skipped": 2},
    ),
    "cleans up and fails": (
        "request.addfinalizer(lambda: add(pg_database, 'late')); raise RuntimeError",
        {"errors": 2},
    ),
}


@pytest.mark.parametrize(("setup", "outcomes"), UNFINISHED.values(), ids=UNFINISHED)
def test_without_isolation_no_test_finds_what_a_fixture_wrote_whose_setup_failed(
    items: Project, setup: str, outcomes: dict[str, int]
) -> None:
    """The mark is a promise about the test, and not about its fixtures."""
    write(
        items,
        "test_a.py",
        f"""
pytestmark = pytest.mark.pg(isolation="none")

@pytest.fixture(scope="module")
def catalogue(pg_database, request): {setup}

@pytest.mark.parametrize("n", range(2))
def test_reads(n, catalogue, pg): ...
""",
    )
    write(
        items,
        "test_b.py",
        """
def test_b(pg):
    assert names(pg).removeprefix("base ") == "reference"
    write(pg, "CREATE TABLE extra ()")
""",
    )

    result = items.run()

    result.assert_outcomes(passed=1, **outcomes)


KEPT = """
pytestmark = pytest.mark.pg({mark})

class TestClass:
    @pytest.fixture(scope="class")
    def half(self, pg_database):
        add(pg_database, "half")
        pytest.skip("not here")

    def test_one(self, pg): add(pg, "one")
    def test_two(self, half, pg): ...
    def test_three(self, pg):
        assert names(pg) == "one reference"
        add(pg, "three")

def test_four(pg): assert names(pg) == "one reference three"
"""


@pytest.mark.parametrize("mark", ["isolation='none'", "scope='module'"])
def test_what_tests_share_stays_when_the_setup_of_a_fixture_fails(
    items: Project, mark: str
) -> None:
    write(items, "test_a.py", KEPT.format(mark=mark))

    items.run().assert_outcomes(passed=3, skipped=1)


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


STORY = """
pytestmark = pytest.mark.pg(scope="module", isolation="{isolation}")

class TestOrder:
    @pytest.fixture(scope="class")
    def order(self, pg_database): add(pg_database, "order")

    {mark}
    def test_step(self, order, pg):
        write(pg, {statements})
        {end}

def test_later_step(pg): assert names(pg) == "{later}"
"""
# Those of the step, and what the later step finds.
DEPENDENT = {
    "changed its row": ("\"UPDATE item SET name = 'paid' WHERE name = 'order'\"", "reference"),
    "refers to its row": (
        "\"INSERT INTO child SELECT id FROM item WHERE name = 'order'\"",
        "reference",
    ),
}


@pytest.mark.full("values")
@pytest.mark.parametrize("end", ["passes", "is expected to fail"])
@pytest.mark.parametrize("step", DEPENDENT)
def test_a_layer_on_which_a_step_of_a_story_depends_is_removed_with_an_error(
    items: Project, step: str, end: str
) -> None:
    items.revision("two", 'op.execute("CREATE TABLE child (item int REFERENCES item)")')
    statements, later = DEPENDENT[step]
    mark, last = ("@pytest.mark.xfail", "assert False") if "fail" in end else ("", "")
    write(
        items,
        "test_a.py",
        STORY.format(isolation="truncate", mark=mark, statements=statements, end=last, later=later),
    )
    write(items, "test_b.py", AFTERWARDS)

    result = items.run()

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    outcomes = result.parseoutcomes()
    assert (outcomes["errors"], outcomes["passed"]) == (1, 2 if "fail" in end else 3)
    result.stdout.fnmatch_lines(
        ['*test test_a.py::TestOrder::test_step refers to rows of the class fixture "order"*']
    )


def test_a_fixture_that_depends_on_a_fixture_torn_down_earlier_is_set_up_again(
    items: Project,
) -> None:
    write(
        items,
        "test_a.py",
        """
@pytest.fixture(scope="module", params=["x", "y"])
def lower(request, pg_database): add(pg_database, request.param)

@pytest.fixture(scope="module")
def upper(pg_database): write(pg_database, "UPDATE item SET name = name || '!' WHERE id > 1")

def test_one(lower, upper, pg): ...
def test_two(lower, upper, pg, request):
    assert names(pg) == "reference " + request.node.callspec.params["lower"] + "!"
""",
    )
    write(items, "test_b.py", AFTERWARDS)

    result = items.run()

    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(
        [
            '*the module fixture "upper" refers to rows of the module fixture "lower"*',
            '*the rows of the module fixture "upper" were lost*',
        ]
    )


@pytest.mark.full("values")
@pytest.mark.parametrize("isolation", ["truncate", "clone"])
@pytest.mark.parametrize("on_ddl", ["reclone", "error"])
def test_a_story_that_changed_the_schema_does_not_end_silently_with_a_narrower_fixture(
    items: Project, isolation: str, on_ddl: str
) -> None:
    items.ini(pythonpath=".", pg_on_ddl=on_ddl)
    statements = "\"INSERT INTO item (name) VALUES ('step')\", 'CREATE TABLE extra ()'"
    story = STORY.format(
        isolation=isolation, mark="", statements=statements, end="", later="reference"
    )
    write(items, "test_a.py", story)
    write(items, "test_b.py", AFTERWARDS)

    result = items.run()

    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        [
            '*the class fixture "order" is torn down while test test_a.py::TestOrder::test_step'
            " has changed the schema*"
        ]
    )
    assert result.stdout.str().count("HINT:") == 1


def test_a_fixture_whose_teardown_changes_the_schema_does_not_end_a_story(items: Project) -> None:
    write(
        items,
        "test_a.py",
        load_program("layers/a_fixture_whose_teardown_changes_the_schema_does_not_end_a_story.py"),
    )
    write(items, "test_b.py", AFTERWARDS)

    passes(items, 4)


def test_an_error_names_the_earlier_steps_of_a_story(items: Project) -> None:
    write(
        items,
        "test_a.py",
        load_program("layers/an_error_names_the_earlier_steps_of_a_story.py"),
    )

    result = items.run()

    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        ["*test test_a.py::TestClass::test_two or an earlier one of its scope has changed the*"]
    )


def test_no_test_runs_with_rows_of_a_fixture_that_was_not_torn_down(items: Project) -> None:
    """pytest-rerunfailures loses the teardown of a fixture after an error in a setup."""
    pytest.importorskip("pytest_rerunfailures")
    write(
        items,
        "test_a.py",
        load_program("layers/no_test_runs_with_rows_of_a_fixture_that_was_not_torn_down.py"),
    )
    write(items, "test_b.py", "def test_b(pg): ...\n" + AFTERWARDS)

    result = items.pytester.runpytest_subprocess(*PLAIN, "-p", "pytest_rerunfailures")

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(['*the scope of the module fixture "rows" without a teardown*'])


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
