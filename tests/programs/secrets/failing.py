import os
import asyncpg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool


@pytest.fixture
def broken(pg_url, pg_database):
    raise LookupError("in a fixture")


def test_equal(pg_url):
    assert pg_url == "postgresql://somebody@somewhere/else"


def test_not_in(pg_url):
    assert "postgresql" not in pg_url


def test_in(pg_url):
    assert "no such thing" in pg_url


def test_method(pg_url):
    assert pg_url.startswith("mysql")


def test_nested(pg_url, pg_database):
    assert {"url": pg_url, "other": [pg_url]} == {"url": pg_database.dsn, "other": []}


def test_url(pg_database):
    assert pg_database.url == make_url("postgresql://somebody:else@somewhere/else")


def test_url_by_field(pg_database):
    assert pg_database.url == pg_database.url.set(password=None)


def test_database(pg_database):
    assert pg_database == None


def test_server(pg_server, pg_template):
    assert pg_server == pg_template


def test_locals(pg_url, pg_database, pg_server, pg_template, pg_sync_engine, pg_sync_session):
    urls, dsn = [pg_url], pg_database.dsn
    raise LookupError("in a test")


def test_fixture(broken):
    pass


def test_connecting(pg_database):
    # No such database: the traceback goes through all of SQLAlchemy and psycopg.
    url = pg_database.url.set(drivername="postgresql+psycopg", database="no such database")
    with create_engine(url, poolclass=NullPool).connect():
        pass


def test_statement(pg_sync_session, pg_url):
    pg_sync_session.execute(text("SELECT CAST(:url AS text)"), {"url": pg_url})
    pg_sync_session.connection().exec_driver_sql("SELECT '" + pg_url.replace("%", "%%") + "'")
    pg_sync_session.execute(text("SELECT * FROM no_such_table"))


def test_leak(pg_sync_sessionmaker, pg_url):
    from psycopg import connect

    global leaked
    leaked = connect(pg_url.replace("+psycopg", ""))
    leaked.execute("INSERT INTO item (name) VALUES ('mine')")


def test_ddl(pg_sync_session):
    pg_sync_session.execute(text("CREATE TABLE other (id int)"))
    pg_sync_session.commit()


def test_last(pg):
    pass
