import psycopg

pytestmark = pytest.mark.pg(scope="module")


@pytest.fixture(scope="module")
def transaction(pg_database):
    with psycopg.connect(pg_database.dsn) as connection:
        yield connection
        connection.rollback()


@pytest.fixture(scope="class")
def harmless(pg_database): ...


class TestClass:
    def test_one(self, transaction, harmless):
        transaction.execute("INSERT INTO item (name) VALUES ('not committed')")


def test_two(transaction):
    assert transaction.execute("SELECT count(*) FROM item").fetchone() == (2,)
