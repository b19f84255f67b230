import pytest
from sqlalchemy import text


def names(database):
    import psycopg

    with psycopg.connect(database.dsn) as connection:
        rows = connection.execute("SELECT name FROM item ORDER BY name").fetchall()
        return " ".join(name for (name,) in rows)


def write(database, *statements):
    import psycopg

    with psycopg.connect(database.dsn) as connection:
        for statement in statements:
            connection.execute(statement)


def add(database, name):
    write(database, f"INSERT INTO item (name) VALUES ('{name}')")


@pytest.fixture(scope="session")
def base(pg_database):
    add(pg_database, "base")


@pytest.fixture(scope="module")
def shared(pg_database):
    write(
        pg_database,
        "INSERT INTO item (name) VALUES ('shared'), ('twice'), ('twice')",
        "UPDATE item SET name = 'changed' WHERE name = 'reference'",
    )
