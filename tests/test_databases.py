"""``pg_databases``: several databases, each with all fixtures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._settings import fixture_name
from pytest_pgtemplate._urls import database_names
from support.programs import load_program
from support.projects import Project, make_project

CONFTEST = load_program("databases/root_conftest.py")

# An application that knows nothing of pytest: it reads where its databases are, and commits.
SHOP = load_program("databases/shop.py")
ENV = "SHOP_URL={url:psycopg} SHOP_ORDERS_URL={orders.url:psycopg} SHOP_ORDERS={orders.name}"


@pytest.fixture
def shop(project: Project) -> Project:
    written(project)
    return project


@pytest.fixture
def two_servers(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, server: Server, system_url: URL
) -> Iterator[Project]:
    """Its main database is on the session's server, that of its orders on another."""
    other = Server(system_url, timeout=60)
    for project in make_project(pytester, monkeypatch, server, server.url):
        written(project)
        yield project
        for found in other.databases():
            if found.name.startswith(f"{project.prefix}_"):
                other.drop(found.name)
    other.close()


def written(project: Project) -> None:
    project.ini(pg_databases="orders")
    project.write("main.sql", "CREATE TABLE item (name text); INSERT INTO item VALUES ('first')")
    project.write("orders.sql", "CREATE TABLE bill (name text)")
    project.write("conftest.py", CONFTEST)
    project.write("shop.py", SHOP)


def test_each_database_has_all_fixtures(shop: Project) -> None:
    lines = shop.run("--fixtures").stdout.str().splitlines()

    names = {line.split()[0] for line in lines if line.startswith("pg")}
    main = {name for name in names if fixture_name(name, "orders") in names}
    assert names == main | {fixture_name(name, "orders") for name in main}
    assert {"pg", "pg_session", "pg_shared", "pg_engine_options", "pg_server"} <= main


EVERY_WAY = load_program("databases/every_way.py")


def test_each_database_is_isolated_and_in_the_summary(shop: Project) -> None:
    shop.write("test_it.py", EVERY_WAY)
    result = shop.run()

    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(
        [
            f"pgtemplate: template {shop.prefix}_tpl_* 1 database, *",
            f"pgtemplate: orders: template {shop.prefix}_orders_tpl_* 1 database, *",
        ]
    )


def test_writes_through_either_database_are_reset(two_servers: Project, system_url: URL) -> None:
    two_servers.ini(
        pg_databases="orders",
        pg_url_orders=_urls.render(system_url),
        pg_env=ENV,
        pg_autouse="true",
        pythonpath=".",
    )
    two_servers.write(
        "test_it.py",
        load_program("databases/writes_through_either_database_are_reset.py"),
    )
    two_servers.run_workers().assert_outcomes(passed=9)


def test_an_unused_database_is_not_created(shop: Project) -> None:
    shop.write("test_it.py", "def test_main(pg):\n    pass\n")
    result = shop.run()

    result.assert_outcomes(passed=1)
    assert not [name for name in shop.databases() if "orders" in name]
    assert "orders" not in result.stdout.str().partition("pgtemplate: template")[2]


LAYERS = load_program("databases/layers.py")


def test_the_layers_of_each_database_are_independent(shop: Project) -> None:
    shop.write("test_one.py", LAYERS)
    shop.write(
        "test_two.py",
        """
        from sqlalchemy import text

        def test_gone(pg_orders_sync_session):
            assert pg_orders_sync_session.scalars(text("SELECT name FROM bill")).all() == []
        """,
    )
    shop.run().assert_outcomes(passed=3)


def test_a_mark_applies_to_the_databases_that_its_test_requests(shop: Project) -> None:
    shop.write(
        "test_it.py",
        load_program("databases/what_a_mark_does_is_done_to_those_that_its_test_asks_for.py"),
    )
    shop.run().assert_outcomes(passed=3)


def test_a_leak_names_its_database(shop: Project) -> None:
    shop.write(
        "test_it.py",
        load_program("databases/a_leak_names_its_database.py"),
    )
    result = shop.run()

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*::test_leaks left a transaction open that blocked the reset*",
            "*::test_leaks (in orders) left a transaction open that blocked the reset*",
        ]
    )


def test_without_migrations_the_hint_says_what_to_write(shop: Project) -> None:
    shop.write("conftest.py", CONFTEST.replace("pg_orders_migrations", "unknown"))
    shop.write(
        "test_it.py",
        """
        def test_one(pg_orders_session): pass
        def test_two(pg_orders): pass
        def test_main(pg): pass
        """,
    )
    result = shop.run()

    result.assert_outcomes(errors=1, skipped=1, passed=1)
    result.stdout.fnmatch_lines(
        ["*HINT: set pg_alembic_ini_orders to * fixture pg_orders_migrations *"]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pg_databases": "Orders"}, "pg_databases: 'Orders' is not a valid name*"),
        ({"pg_databases": "orders orders"}, "pg_databases: orders appears twice"),
        ({"pg_databases": "sync"}, "pg_databases: there would be two fixtures pg_sync_engine*"),
        ({"pg_url_orders": "http://x"}, "pg_url_orders is not a PostgreSQL URL: *"),
        ({"pg_env": "A={events.url}"}, "pg_env: unknown field {events.url}: *"),
    ],
)
def test_invalid_options_are_usage_errors(
    shop: Project, options: dict[str, str], message: str
) -> None:
    shop.ini(**{"pg_databases": "orders", **options})
    result = shop.run()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_the_environment_names_the_server_of_one(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGTEMPLATE_URL_ORDERS", "postgresql://127.0.0.1:1/postgres")
    shop.write("test_it.py", "def test_one(pg_orders): pass\ndef test_main(pg): pass\n")
    result = shop.run()

    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["pgtemplate: *pg_url_orders from PGTEMPLATE_URL_ORDERS*"])


def test_an_environment_that_is_empty_names_no_server(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As CI sets what it has not got: where the main database is, orders are."""
    monkeypatch.setenv("PGTEMPLATE_URL_ORDERS", " ")
    shop.write(
        "test_it.py",
        """
        def test_same(pg_server, pg_orders_server):
            assert str(pg_server) == str(pg_orders_server)
        """,
    )
    result = shop.run()

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*PGTEMPLATE_URL_ORDERS*")


def test_the_longest_names_fit() -> None:
    prefix = database_names.prefix_of(f"{'p' * 36}_{'orders' * 10}")
    names = [
        database_names.kept(database_names.worker(prefix, "0" * 8, "gw12"), 1),
        database_names.template(prefix, "f" * 64),
    ]

    assert max(map(len, names)) <= 63
