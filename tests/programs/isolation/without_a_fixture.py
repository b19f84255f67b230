import os
import psycopg
from conftest import held


def names():
    with psycopg.connect(os.environ["URL"].replace("+psycopg", "")) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM item")]


def test_writes_and_cannot_be_reset():
    assert names() == ["reference"]
    with psycopg.connect(os.environ["URL"].replace("+psycopg", "")) as connection:
        connection.execute("INSERT INTO item (name) VALUES ('left')")
        database = connection.info.dbname
    superuser = psycopg.connect(os.environ["SUPERUSER"], dbname=database)
    superuser.execute("INSERT INTO item (name) VALUES ('open')")
    held.append(superuser)


def test_begins_clean_all_the_same():
    assert names() == ["reference"]
