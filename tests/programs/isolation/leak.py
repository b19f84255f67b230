import psycopg
import pytest

open_connections = []


def write_and_leave(database):
    connection = psycopg.connect(database.dsn, application_name="leaky")
    connection.execute("INSERT INTO item (name) VALUES ('left open')")
    open_connections.append(connection)
