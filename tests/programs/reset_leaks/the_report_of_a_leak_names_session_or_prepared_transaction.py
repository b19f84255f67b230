def test_leaks(pg):
    connection = psycopg.connect(pg.dsn, application_name="my job")
    connection.execute("DELETE FROM item")
    connection.execute("SELECT 'the last thing it did'")
    left.append(connection)
    print(f"it is <{connection.info.backend_pid}>")


def test_prepares(pg):
    with psycopg.connect(pg.dsn, autocommit=True) as connection:
        connection.execute("BEGIN")
        connection.execute("DELETE FROM item")
        connection.execute("PREPARE TRANSACTION 'my transaction'")


def test_is_clean(pg_sync_session):
    assert names(pg_sync_session) == ["reference"]
