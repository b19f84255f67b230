import json
import time
import pytest
from sqlalchemy import text


@pytest.fixture
def customer(pg_sync_session):
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('customer')"))
    pg_sync_session.commit()
    time.sleep(0.05)


@pytest.fixture(scope="module")
def shared(pg_shared):
    with pg_shared.sync_sessionmaker.begin() as session:
        session.execute(text("INSERT INTO item (name) VALUES ('shared')"))


@pytest.mark.parametrize("n", range(4))
def test_customer(n, shared, customer):
    time.sleep(0.05)


def test_reads(pg_sync_session):
    assert pg_sync_session.scalar(text("SELECT count(*) FROM item")) == 7


def test_ddl(pg_sync_session):
    pg_sync_session.execute(text("CREATE TABLE more ()"))
    pg_sync_session.commit()


@pytest.fixture
def leak(pg_database):
    import psycopg

    connection = psycopg.connect(pg_database.dsn)
    connection.execute("INSERT INTO item (name) VALUES ('left open')")
    yield
    leaks.append(connection)


leaks = []


@pytest.fixture(scope="session", autouse=True)
def closed_at_last():
    yield
    for connection in leaks:
        connection.close()


def test_leaks(leak):
    pass


def test_plain():
    time.sleep(0.05)
