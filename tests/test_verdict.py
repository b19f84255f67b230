"""A run that could not isolate its tests is not green; no test skips without a reported error."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.kinds import KINDS
from support.programs import load_program
from support.projects import PLAIN, Project

CONFTEST = load_program("verdict/root_conftest.py")
IMPORT = "import pytest\nfrom conftest import end_all_others, names, write\n"


@pytest.fixture
def base(project: Project) -> Project:
    project.ini(pythonpath=".")
    project.write("conftest.py", CONFTEST)
    project.write("schema.sql", "CREATE TABLE product (id serial PRIMARY KEY, name text);")
    return project


def write(base: Project, text: str) -> None:
    base.write("test_it.py", IMPORT + text)


LOSES = """
def test_one(shared, pg):
    end_all_others(pg)

def test_two(shared, pg):
    assert names(pg) == "shared"
    assert False

def test_three(pg):
    assert names(pg) == "shared"
"""


@pytest.mark.full("values")
@pytest.mark.parametrize("project", KINDS, indirect=True, ids=str)
@pytest.mark.parametrize("isolation", ["truncate", "clone"])
def test_lost_rows_are_an_error_of_the_test_that_lost_them(base: Project, isolation: str) -> None:
    """The next tests find them built again, whether or not they name the fixture."""
    base.ini(pythonpath=".", pg_isolation=isolation)
    write(base, LOSES)

    result = base.run()

    result.assert_outcomes(passed=2, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_one*",
            '*the rows of the session fixture "shared" were lost*',
            "FAILED test_it.py::test_two - assert False",
        ]
    )


def test_lost_rows_are_there_for_a_test_that_only_pg_autouse_isolates(base: Project) -> None:
    base.ini(pythonpath=".", pg_autouse="true", pg_env="DSN={url:}")
    write(
        base,
        load_program("verdict/lost_rows_are_there_for_a_test_that_only_pg_autouse_isolates.py"),
    )

    base.run().assert_outcomes(passed=2, errors=1)


@pytest.mark.full("one")
@pytest.mark.parametrize("project", KINDS, indirect=True, ids=str)
def test_lost_rows_of_several_fixtures_are_built_again_in_their_order(base: Project) -> None:
    """Also those of a fixture that got the other's value, and those of a parametrized one."""
    write(
        base,
        load_program("verdict/lost_rows_of_several_fixtures_are_built_again_in_their_order.py"),
    )
    result = base.run("-p", "no:randomly")

    result.assert_outcomes(passed=7, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_one[[]b-1[]]*"])


@pytest.mark.full("one")
@pytest.mark.parametrize("project", KINDS, indirect=True, ids=str)
def test_writes_in_the_teardown_of_a_fixture_with_lost_rows_are_reset(base: Project) -> None:
    write(
        base,
        """
@pytest.fixture(scope="module")
def audited(shared, pg_database):
    write(pg_database, "INSERT INTO product (name) VALUES ('module')")
    yield
    write(pg_database, "INSERT INTO product (name) VALUES ('the end')")

def test_one(audited, pg): end_all_others(pg)
def test_two(audited, pg): assert names(pg) == "shared module"
""",
    )
    base.run().assert_outcomes(passed=2, errors=1)


@pytest.mark.full("one")
@pytest.mark.parametrize("project", KINDS, indirect=True, ids=str)
def test_no_test_runs_without_rows_that_cannot_be_built_again(base: Project) -> None:
    write(
        base,
        load_program("verdict/no_test_runs_without_rows_that_cannot_be_built_again.py"),
    )
    result = base.run()

    result.assert_outcomes(passed=2, errors=3)
    assert result.ret == 1


def test_rows_lost_at_the_very_end_are_an_error_too(base: Project) -> None:
    write(base, "def test_one(shared, pg): end_all_others(pg)\n")
    result = base.run()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(['*the rows of the session fixture "shared" were lost*'])


def test_rows_are_lost_where_there_is_no_template_any_more(base: Project) -> None:
    """The reason is reported once, and no test runs on the incomplete state."""
    write(
        base,
        """
def test_one(shared, pg):
    end_all_others(pg)
    with __import__("psycopg").connect(pg.dsn, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{pg.template.name}" RENAME TO "{pg.name}_hidden"')

def test_two(shared, pg): ...
def test_three(shared, pg): ...
""",
    )
    result = base.run()

    output = result.stdout.str()
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] == 1, output
    assert outcomes["errors"] >= 1
    assert output.count("was removed from the server") <= 2 + outcomes.get("skipped", 0)
    assert result.ret == 1


# A skip rests on an error that a failed report shows.

FAILS = "CREATE TABLE product (id serial PRIMARY KEY, name text); SELECT 1 / 0;"
HIDDEN = """
@pytest.mark.xfail(reason="a known bug of the application", strict=False)
def test_one(pg): ...
def test_two(pg): ...
def test_three(pg): ...
"""


def test_an_expected_failure_hides_no_error(base: Project) -> None:
    base.write("schema.sql", FAILS)
    write(base, HIDDEN)

    result = base.run()

    result.assert_outcomes(xfailed=1, errors=1, skipped=1)
    assert result.stdout.str().count("HINT: ") == 1


def test_an_error_that_only_an_expected_failure_has_seen_ends_the_run(base: Project) -> None:
    """No other test meets it."""
    base.write("schema.sql", FAILS)
    write(base, HIDDEN.partition("def test_two")[0] + "def test_plain(): ...\n")

    result = base.run()

    result.assert_outcomes(xfailed=1, passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ERROR *test_one*", "*division by zero*", "HINT: *"])
    assert result.ret == 1


def test_an_expected_failure_of_another_worker_hides_no_error(base: Project) -> None:
    base.write("schema.sql", FAILS)
    write(
        base,
        """
@pytest.mark.parametrize("n", range(8))
@pytest.mark.xfail(reason="a known bug of the application", strict=False)
def test_one(pg, n): ...

def test_two(pg): ...
""",
    )
    result = base.run_workers()

    assert result.ret == 1, result.stdout.str()
    result.stdout.fnmatch_lines(["*division by zero*", "HINT: *"])


def test_lost_rows_that_an_expected_failure_hides_end_the_run(base: Project) -> None:
    write(
        base,
        """
@pytest.mark.xfail(reason="a known bug of the application", strict=False)
def test_one(shared, pg):
    end_all_others(pg)
    assert False

def test_two(shared, pg): assert names(pg) == "shared"
""",
    )
    result = base.run()

    assert result.ret == 1
    result.stdout.fnmatch_lines(['*the rows of the session fixture "shared" were lost*'])


ODD_EXCEPTIONS = load_program("verdict/odd_exceptions.py")


def test_any_exception_fails_its_test_only(base: Project) -> None:
    write(base, ODD_EXCEPTIONS)

    base.run().assert_outcomes(passed=1, failed=3)


FAILING_RESET = load_program("verdict/failing_reset.py")


def test_a_dynamic_request_after_a_failed_reset_finds_no_unknown_state(base: Project) -> None:
    """pg_shared is set up already, so no hook of pytest shows that a test requests it."""
    base.write("conftest.py", CONFTEST + FAILING_RESET)
    write(
        base,
        """
from conftest import fails

def test_one(pg_shared, pg):
    write(pg, "INSERT INTO product (name) VALUES ('mine')")
    fails.append(1)

def test_two(request): assert names(request.getfixturevalue("pg_shared")) == ""
""",
    )

    result = base.pytester.runpytest_subprocess(*PLAIN)

    result.assert_outcomes(passed=2, errors=1)


def test_a_hook_that_turns_a_failure_into_a_success_hides_no_error(base: Project) -> None:
    base.write("schema.sql", FAILS)
    base.write(
        "conftest.py",
        CONFTEST
        + """
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item):
    report = yield
    if item.name == "test_one" and report.failed:
        report.outcome, report.longrepr = "skipped", ("", 0, "quarantined")
    return report
""",
    )
    write(base, "def test_one(pg): ...\ndef test_two(): ...\n")

    result = base.run()

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*division by zero*"])


def test_a_test_that_runs_again_meets_the_error_again(base: Project) -> None:
    pytest.importorskip("pytest_rerunfailures")
    base.write("schema.sql", FAILS)
    write(base, HIDDEN.partition("\n")[2].partition("\n")[2])

    result = base.pytester.runpytest_subprocess(
        *[option for option in PLAIN if "rerun" not in option],
        *("-p", "pytest_rerunfailures", "--reruns", "1"),
    )

    assert result.ret == 1
    assert result.parseoutcomes().get("errors", 0) >= 1, result.stdout.str()


def test_an_error_in_a_subtest_of_a_test_that_runs_again_is_not_lost(base: Project) -> None:
    pytest.importorskip("pytest_rerunfailures")
    base.write("schema.sql", FAILS)
    write(
        base,
        """
def test_one(request, subtests):
    with subtests.test("one"):
        request.getfixturevalue("pg")
""",
    )
    result = base.pytester.runpytest_subprocess(
        *PLAIN, *("-p", "pytest_rerunfailures", "--reruns", "2")
    )
    assert result.ret == 1, result.stdout.str()


CRASHES = load_program("verdict/crashes.py")
CRASHING_CONFTEST = load_program("verdict/crashing_conftest.py")


@pytest.mark.parametrize("rerun", [(), ("-p", "pytest_rerunfailures", "--reruns", "1")])
def test_a_worker_that_crashes_before_it_reports(base: Project, rerun: tuple[str, ...]) -> None:
    """Its claim is a file, its report never came; pytest-rerunfailures forgives the crash."""
    if rerun:
        pytest.importorskip("pytest_rerunfailures")
    base.write("schema.sql", FAILS)
    base.write("conftest.py", CONFTEST + CRASHING_CONFTEST)
    base.write("test_it.py", CRASHES)

    result = base.run_workers(*rerun)

    assert Path(base.root / "crashed").exists()
    assert result.ret == 1, result.stdout.str()
    result.stdout.fnmatch_lines(["*division by zero*"])


def test_a_run_that_stops_early_is_red(base: Project) -> None:
    base.write("schema.sql", FAILS)
    write(base, HIDDEN)

    for option in ("-x", "--maxfail=1", "--stepwise"):
        assert base.run(option, "-p", "cacheprovider").ret != 0


def test_whatever_ends_a_reset_leaves_no_database_in_an_unknown_state(base: Project) -> None:
    """As pytest-timeout does, which raises wherever it is."""
    base.ini(pythonpath=".", pg_databases="other")
    base.write(
        "conftest.py",
        CONFTEST
        + load_program("verdict/whatever_ends_a_reset_leaves_no_database_in_an_unknown_state.py"),
    )
    write(
        base,
        """
@pytest.mark.parametrize("n", range(2))
def test_one(pg, pg_other, n):
    assert names(pg) == names(pg_other) == ""
    for each in (pg, pg_other):
        write(each, "INSERT INTO product (name) VALUES ('mine')")
""",
    )
    result = base.run()

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*Timeout*"])
