pytestmark = pytest.mark.pg(scope="module")


@pytest.fixture(scope="module", autouse=True)
def rows(pg_database):
    with psycopg.connect(pg_database.dsn) as connection:
        connection.execute("INSERT INTO item (name) VALUES ('of the module')")


@pytest.mark.parametrize("n", range(3))
def test_sees_it(pg_sync_session, n):
    assert names(pg_sync_session) == ["reference", "of the module"] + ["more"] * n
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('more')"))
    pg_sync_session.commit()
