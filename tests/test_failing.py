"""A failing test shows where its rows are, and the statements that it sent."""

from __future__ import annotations

import re

import pytest

from support.programs import load_program
from support.projects import ITEM, Project

TESTS = load_program("failing/tests.py")


@pytest.fixture
def shop(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.prepare_template()
    project.write("test_it.py", TESTS)
    return project


def test_it_names_its_database_and_whose_data_is_there(shop: Project) -> None:
    result = shop.run("-k", "sync or plain")

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*- pgtemplate -*",
            f"database: {shop.prefix}_*_main",
            'it contains the rows of the module fixture "shared"',
            "the plugin resets it after this test; --pg-keep-failed keeps it",
            f"connect with: psql '*{shop.prefix}_*_main*'",
            "*_ test_plain _*",
        ]
    )
    assert result.stdout.str().count("- pgtemplate -") == 1


LATE = """
import pytest

def test_dynamic(request):
    request.getfixturevalue("pg_sync_session")
    assert False
"""


@pytest.mark.parametrize("autouse", [True, False])
def test_it_names_a_database_that_it_does_not_request_by_name(shop: Project, autouse: bool) -> None:
    shop.ini(pg_autouse=str(autouse).lower())
    shop.write("test_late.py", LATE)

    result = shop.run("-k", "dynamic or plain", "--pg-keep-failed")

    result.assert_outcomes(failed=2)
    kept = [name for name in shop.databases() if "kept" in name]
    assert re.findall(r"^kept as: (.*)$", result.stdout.str(), re.MULTILINE) == kept
    assert len(kept) == 1 + autouse


def test_it_names_what_its_database_is_kept_as(shop: Project) -> None:
    result = shop.run("--pg-keep-failed", "-k", "sync or many")

    result.assert_outcomes(failed=2)
    kept = [name for name in shop.databases() if "kept" in name]
    assert re.findall(r"^kept as: (.*)$", result.stdout.str(), re.MULTILINE) == kept
    assert len(kept) == 2


def test_it_shows_the_statements_that_it_sent(shop: Project) -> None:
    result = shop.run("--pg-log-sql=failed", "-k", "not many")

    result.assert_outcomes(failed=3, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*- SQL -*",
            "* ms  INSERT INTO item (name) VALUES (*'mine'*  took * ms, 1 rows",
            "* ms  COMMIT",
            "* ms  SELECT name FROM item  took * ms, 3 rows",
            "*- SQL -*",
            '* ms  SELECT * FROM nowhere  -- relation "nowhere" does not exist  took * ms',
        ]
    )
    result.stdout.no_fnmatch_line("*nobody looks at this*")


def test_it_shows_no_more_statements_than_a_person_reads(shop: Project) -> None:
    result = shop.run("--pg-log-sql=failed", "-k", "many")

    shown = re.findall(r" ms  SELECT (\d+)  took", result.stdout.str())
    assert len(shown) < 103
    assert shown[-1] == "102"
    result.stdout.fnmatch_lines(f"({104 - 100} earlier statements are not shown)")


def test_it_shows_no_password_in_a_statement(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORD", "hunter2-7")
    shop.write(
        "test_it.py",
        load_program("failing/it_shows_no_password_in_a_statement.py"),
    )
    result = shop.run("--pg-log-sql=failed", "--tb=line", "-vv")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*CREATE ROLE pgtemplate_nobody LOGIN PASSWORD [*][*][*] VALID UNTIL 'infinity'*",
            "*ALTER ROLE pgtemplate_nobody ENCRYPTED PASSWORD [*][*][*]  took*",
            "*ALTER ROLE pgtemplate_nobody PASSWORD [*][*][*] NOLOGIN*",
            "*SELECT 'postgresql://joe:[*][*][*]@there/' AS url*",
            "*SELECT 'host=there password=[*][*][*] user=joe' AS dsn*",
            "*xxx postgresql:*.. *",
            "* AS parameter  {'url': 'postgresql://joe:[*][*][*]@there/'}*",
            "*WHERE password = %(it)s*",
        ]
    )
    assert "hunter" not in result.stdout.str()


def test_the_header_shows_the_source_of_each_option(shop: Project) -> None:
    result = shop.run("--pg-isolation=rollback", "-k", "plain")

    result.stdout.fnmatch_lines(
        f"pgtemplate: databases {shop.prefix}_* on the server in pg_url"
        " (pg_url from PGTEMPLATE_URL; pg_name from pytest.ini; pg_isolation from --pg-isolation)"
    )


def test_the_long_summary_shows_what_was_slow(shop: Project) -> None:
    result = shop.run("--pg-stats", "-k", "sync or plain")

    result.stdout.fnmatch_lines(
        [
            "  time: tests * s (*%), set-up *, database *, starting *, idle *",
            "  resets: median * ms, worst * ms",
            "  one more worker? *",
            "  slowest tests:",
            "  * s  test_it.py::test_sync  wrote item",
            "  tables written:",
            "  * 1 test  item",
        ]
    )
