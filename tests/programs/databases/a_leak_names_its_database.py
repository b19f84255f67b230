import psycopg


def test_leaks(pg, pg_orders, request):
    for each, table in ((pg, "item"), (pg_orders, "bill")):
        connection = psycopg.connect(each.dsn)
        request.config.add_cleanup(connection.close)
        connection.execute(f"INSERT INTO {table} VALUES ('mine')")


def test_next(pg_sync_session, pg_orders_sync_session):
    pass
