@pytest.mark.parametrize("n", range(3))
def test_alone(n, pg_sync_session):
    add(pg_sync_session)
    assert rows(pg_sync_session) == [(1, "reference"), (2, "mine")]


@pytest.fixture(scope="class")
def shared(pg_shared):
    with pg_shared.sync_sessionmaker() as session:
        add(session, "shared")


class TestShared:
    @pytest.mark.parametrize("n", range(2))
    def test_with_others(self, n, shared, pg_sync_session):
        add(pg_sync_session)
        assert rows(pg_sync_session) == [(1, "reference"), (2, "shared"), (3, "mine")]
        pg_sync_session.execute(text("DELETE FROM item"))
        pg_sync_session.commit()
