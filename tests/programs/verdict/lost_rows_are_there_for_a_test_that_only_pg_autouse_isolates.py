import os
import psycopg


def test_one(shared, pg):
    end_all_others(pg)


def test_two():
    with psycopg.connect(os.environ["DSN"]) as connection:
        rows = connection.execute("SELECT name FROM product").fetchall()
    assert rows == [("shared",)]
