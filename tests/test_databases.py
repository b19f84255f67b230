"""``pg_databases``: several databases, each with the whole chain of fixtures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._settings import fixture_name
from pytest_pgtemplate._urls import database_names
from support.projects import Project, make_project

CONFTEST = """
import pytest
from pytest_pgtemplate import SqlFiles

@pytest.fixture(scope="session")
def pg_migrations(pytestconfig):
    return SqlFiles(pytestconfig.rootpath / "main.sql")

@pytest.fixture(scope="session")
def pg_orders_migrations(pytestconfig):
    return SqlFiles(pytestconfig.rootpath / "orders.sql")
"""

# An application that knows nothing of pytest: it reads where its databases are, and commits.
SHOP = """
import os
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

items = create_engine(os.environ["SHOP_URL"], poolclass=NullPool)
bills = create_engine(os.environ["SHOP_ORDERS_URL"], poolclass=NullPool)

def sell(name):
    with items.begin() as connection:
        connection.execute(text("INSERT INTO item VALUES (:name)"), {"name": name})
    with bills.begin() as connection:
        connection.execute(text("INSERT INTO bill VALUES (:name)"), {"name": name})

def sold():
    with items.connect() as connection:
        yield from connection.scalars(text("SELECT name FROM item"))
    with bills.connect() as connection:
        yield from connection.scalars(text("SELECT name FROM bill"))
"""
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


def test_each_has_every_fixture_of_the_other(shop: Project) -> None:
    lines = shop.run("--fixtures").stdout.str().splitlines()

    names = {line.split()[0] for line in lines if line.startswith("pg")}
    main = {name for name in names if fixture_name(name, "orders") in names}
    assert names == main | {fixture_name(name, "orders") for name in main}
    assert {"pg", "pg_session", "pg_shared", "pg_engine_options", "pg_server"} <= main


EVERY_WAY = """
    import asyncio
    import pytest
    from sqlalchemy import text

    ROLLBACK = pytest.mark.pg(isolation="rollback")
    INSERT, ALL = text("INSERT INTO bill VALUES ('x')"), text("SELECT name FROM bill")

    def test_sync(pg_sync_session, pg_orders_sync_session):
        assert pg_sync_session.scalars(text("SELECT name FROM item")).all() == ["first"]
        pg_orders_sync_session.execute(INSERT)
        pg_orders_sync_session.commit()

    @pytest.mark.parametrize("how", [pytest.param("rollback", marks=ROLLBACK), "truncate"])
    def test_async(how, pg_orders_session, pg_orders_connection):
        async def test():
            assert (await pg_orders_connection.scalars(ALL)).all() == []
            await pg_orders_connection.commit()
            await pg_orders_session.execute(INSERT)
            await pg_orders_session.commit()
            assert (await pg_orders_connection.scalars(ALL)).all() == ["x"]

        asyncio.run(test())

    @pytest.mark.pg(isolation="clone")
    def test_schema(pg_orders_sync_engine):
        with pg_orders_sync_engine.begin() as connection:
            assert connection.scalars(ALL).all() == []
            connection.execute(text("DROP TABLE bill"))

    def test_nothing_is_left(pg_orders, pg_orders_shared, pg_orders_template, pg_template):
        with pg_orders_shared.sync_sessionmaker() as session:
            assert session.scalars(ALL).all() == []
        assert pg_orders.url.render_as_string(hide_password=False) == pg_orders_shared.url
        assert pg_orders.template is pg_orders_template is not pg_template
"""


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
        """
        import pytest, shop

        @pytest.mark.parametrize("n", range(8))
        def test_sells(n):
            shop.sell("mine")
            assert list(shop.sold()) == ["first", "mine", "mine"]

        def test_other_server(pg_server, pg_orders_server, pg_orders_database):
            assert str(pg_server) != str(pg_orders_server)
            assert pg_orders_database.name == shop.os.environ["SHOP_ORDERS"]
        """,
    )
    two_servers.run_workers().assert_outcomes(passed=9)


def test_an_unused_database_is_not_created(shop: Project) -> None:
    shop.write("test_it.py", "def test_main(pg):\n    pass\n")
    result = shop.run()

    result.assert_outcomes(passed=1)
    assert not [name for name in shop.databases() if "orders" in name]
    assert "orders" not in result.stdout.str().partition("pgtemplate: template")[2]


LAYERS = """
    import pytest
    from sqlalchemy import text

    @pytest.fixture(scope="module")
    def bills(pg_orders_shared):
        with pg_orders_shared.sync_sessionmaker.begin() as session:
            session.execute(text("INSERT INTO bill VALUES ('shared')"))

    @pytest.mark.parametrize("n", range(2))
    def test_shared(n, bills, pg_orders_sync_session, pg_sync_session):
        names = pg_orders_sync_session.scalars(text("DELETE FROM bill RETURNING name")).all()
        pg_orders_sync_session.commit()
        assert names == ["shared"]
        pg_sync_session.execute(text("INSERT INTO item VALUES ('mine')"))
        pg_sync_session.commit()
        assert len(pg_sync_session.scalars(text("SELECT name FROM item")).all()) == 2
"""


def test_a_fixture_writes_for_its_tests_to_one_and_not_to_the_other(shop: Project) -> None:
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


def test_what_a_mark_does_is_done_to_those_that_its_test_asks_for(shop: Project) -> None:
    shop.write(
        "test_it.py",
        """
        import pytest
        from sqlalchemy import text

        OID = text("SELECT oid FROM pg_database WHERE datname = current_database()")
        seen = []

        @pytest.fixture
        def oids(pg_sync_session, pg_orders_sync_session):
            seen.append([each.scalar(OID) for each in (pg_sync_session, pg_orders_sync_session)])
            return seen

        def test_first(oids):
            pass

        @pytest.mark.pg(isolation="clone")
        def test_clone(pg_sync_session):
            pass

        def test_one_is_another(oids):
            before, now = oids
            assert before[0] != now[0]
            assert before[1] == now[1]
        """,
    )
    shop.run().assert_outcomes(passed=3)


def test_a_leak_names_its_database(shop: Project) -> None:
    shop.write(
        "test_it.py",
        """
        import psycopg

        def test_leaks(pg, pg_orders, request):
            for each, table in ((pg, "item"), (pg_orders, "bill")):
                connection = psycopg.connect(each.dsn)
                request.config.add_cleanup(connection.close)
                connection.execute(f"INSERT INTO {table} VALUES ('mine')")

        def test_next(pg_sync_session, pg_orders_sync_session):
            pass
        """,
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
        ["*HINT: let pg_alembic_ini_orders name * fixture pg_orders_migrations *"]
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
def test_what_cannot_be_is_refused(shop: Project, options: dict[str, str], message: str) -> None:
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
