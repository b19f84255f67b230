import psycopg


def test_leaks(pg_database):
    global connection
    connection = psycopg.connect(pg_database.dsn)
    connection.execute("CREATE TEMP TABLE it (); INSERT INTO pgtemplate.log VALUES (1)")
    connection.execute("SELECT 'postgresql://joe:hunter2-7@there/'")


def test_closes():
    connection.close()
