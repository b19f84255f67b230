@pytest.fixture(scope="session", autouse=True)
def schema(pg_database): ...


@pytest.fixture(scope="module")
def parents(pg_database):
    write(pg_database, "INSERT INTO parent VALUES (1)")


@pytest.fixture(scope="session")
def children(pg_database):
    write(pg_database, "INSERT INTO child VALUES (1)")


@pytest.fixture(scope="session")
def updates(pg_database):
    write(pg_database, "UPDATE parent SET id = 2")
