COUNT = text("SELECT count(*) FROM item WHERE name = 'mine'")


@pytest.fixture(scope="module")
def shop(pg_shared):
    with pg_shared.sync_sessionmaker.begin() as session:
        session.execute(INSERT)
    yield
    with pg_shared.sync_sessionmaker.begin() as session:
        assert session.scalar(COUNT) == 1


@pytest.mark.pg(isolation="clone")
def test_drops(shop, pg_sync_session):
    pg_sync_session.execute(text("DROP TABLE item"))
    pg_sync_session.commit()
