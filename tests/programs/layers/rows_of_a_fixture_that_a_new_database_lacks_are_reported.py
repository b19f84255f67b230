import os
import sqlalchemy


@pytest.fixture(scope="session", params=["small", "large"])
def pg_seed(request): ...


@pytest.fixture(scope="session", autouse=True)
def countries():
    engine = sqlalchemy.create_engine(os.environ["URL"])
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO item (name) VALUES ('country')"))
    engine.dispose()


@pytest.mark.parametrize("n", range(2))
def test_it(n, pg):
    assert names(pg) == "country reference"
