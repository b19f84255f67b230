from pathlib import Path

import psycopg
import pytest
from pytest_pgtemplate import SqlFiles
from sqlalchemy import text


@pytest.fixture(scope="session")
def pg_migrations():
    return SqlFiles(Path(__file__).parent / "schema.sql")


@pytest.fixture(scope="session")
def shared(pg_shared):
    with pg_shared.sync_sessionmaker.begin() as session:
        return session.scalar(text("INSERT INTO product (name) VALUES ('shared') RETURNING id"))


def names(database):
    with psycopg.connect(database.dsn) as connection:
        rows = connection.execute("SELECT name FROM product ORDER BY id").fetchall()
        return " ".join(name for (name,) in rows)


def write(database, *statements):
    with psycopg.connect(database.dsn) as connection:
        for statement in statements:
            connection.execute(statement)


def end_all_others(database):
    write(database, "INSERT INTO product (name) VALUES ('mine')")
    write(
        database,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
