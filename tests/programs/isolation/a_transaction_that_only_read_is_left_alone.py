@pytest.fixture(scope="module")
def reader(pg_database):
    connection = psycopg.connect(pg_database.dsn)
    connection.execute("SELECT * FROM item")
    yield connection
    assert connection.info.transaction_status.name == "INTRANS"
    connection.close()


@pytest.mark.parametrize("n", range(2))
def test_reads(reader, n):
    assert reader.execute("SELECT count(*) FROM item").fetchone() == (1,)
