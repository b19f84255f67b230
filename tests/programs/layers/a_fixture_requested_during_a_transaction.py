from sqlalchemy import text


def test_one(pg_sync_session, request):
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('mine')"))
    request.getfixturevalue("base")


def test_two(pg_sync_session, tmp_path_factory, request):
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('mine')"))
    request.getfixturevalue("harmless")


@pytest.fixture(scope="session")
def harmless(): ...


def test_three(base, pg):
    assert names(pg) == "base reference"
