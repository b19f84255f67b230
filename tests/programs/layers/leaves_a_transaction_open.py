import psycopg

kept = []


@pytest.fixture(scope="module")
def odd(pg_database):
    add(pg_database, "committed")
    connection = psycopg.connect(pg_database.dsn)
    connection.execute("INSERT INTO item (name) VALUES ('open')")
    kept.append(connection)


def test_one(odd, pg): ...
def test_two(pg):
    assert names(pg) == "reference"
