"""Through a pooler: one that leaves us our sessions works, any other is refused at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import psycopg
import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._cli import main
from pytest_pgtemplate._server import Server
from pytest_pgtemplate.errors import ServerError
from support.compatible_servers import compatible_server
from support.poolers import pgbouncer
from support.programs import load_program
from support.projects import PLAIN, TESTS, Project


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_shares_sessions_is_refused_before_anything_is_made(
    system_project: Project, system_url: URL, mode: str
) -> None:
    system_project.write("test_it.py", TESTS)
    with pgbouncer(system_url, mode) as url:
        result = system_project.run("--pg-url", str(_urls.render(url)))
    result.assert_outcomes(passed=1, errors=1, skipped=2)
    result.stdout.fnmatch_lines([f"*pooler at 127.0.0.1:{url.port} *", "*HINT: *pool_mode*"])
    assert system_project.databases() == []


def test_it_is_refused_as_surely_where_others_use_it(system_url: URL) -> None:
    """They may take away the session that it would lend to both of ours."""
    with pgbouncer(system_url, "transaction") as url, busy(url):
        for _ in range(30):
            with pytest.raises(ServerError, match="pooler"):
                Server(url, timeout=10)


@contextmanager
def busy(url: URL) -> Iterator[None]:
    """Somebody else sends one statement after the other meanwhile."""
    begun, ended = Event(), Event()

    def work() -> None:
        with psycopg.connect(_urls.dsn(url), autocommit=True, prepare_threshold=None) as connection:
            while not ended.is_set():
                connection.execute("SELECT 1")
                begun.set()

    with ThreadPoolExecutor() as pool:
        working = pool.submit(work)
        assert begun.wait(10)
        yield
        ended.set()
        working.result(10)


LIFE = load_program("pooler/life.py")


def test_a_pooler_in_session_mode_works_from_the_build_to_the_leak(
    system_project: Project, system_url: URL
) -> None:
    system_project.write("test_it.py", LIFE)
    with pgbouncer(system_url, "session") as url:
        result = system_project.pytester.runpytest_subprocess(
            "--asyncio-mode=auto", "--pg-timeout=60", "--pg-url", str(_urls.render(url))
        )
    result.assert_outcomes(passed=5, errors=1)
    result.stdout.fnmatch_lines(["*test_leaks left a transaction open *", "*migrated *"])
    assert [name.split("_")[2] for name in system_project.databases()] == ["tpl"]


def test_templates_are_saved_through_a_pooler_in_session_mode(
    system_project: Project, system_url: URL
) -> None:
    system_project.write("test_it.py", TESTS)
    with pgbouncer(system_url, "session") as url:
        save = ["--url", str(_urls.render(url)), "save", "templates.pgt", *PLAIN]
        assert main.main(save) == 0
    assert (system_project.root / "templates.pgt").exists()


def test_an_option_that_a_pooler_refuses_is_reported_with_the_setting(system_url: URL) -> None:
    with pgbouncer(system_url, "session") as url, pytest.raises(ServerError) as error:
        Server(url.update_query_dict({"options": "-c search_path=shop"}), timeout=10)
    assert "ignore_startup_parameters" in error.value.hint


def test_without_a_pooler_nothing_is_opened_to_look_for_one(system_url: URL) -> None:
    with compatible_server(system_url) as stand_in:
        Server(stand_in.url, timeout=10).close()
    assert stand_in.connections == 1
