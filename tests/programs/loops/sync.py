backends = []


@pytest.fixture
def item(pg_sync_session):
    item = Item(name="mine")
    pg_sync_session.add(item)
    pg_sync_session.commit()
    yield item
    pg_sync_session.refresh(item)
    assert item.name == "changed"


class TestSync:
    @pytest.mark.parametrize("n", range(30))
    def test_commits_the_same_as_the_others(self, n, pg_sync_session):
        pg_sync_session.add(Item(name="mine"))
        pg_sync_session.commit()
        backends.append(pg_sync_session.scalar(select(func.pg_backend_pid())))

    def test_shares_a_connection_with_the_others(self):
        assert len(set(backends)) == 1

    def test_has_a_fixture_that_comes_back_to_the_session(self, item, pg_sync_session):
        item.name = "changed"
        pg_sync_session.flush()

    @pytest.mark.parametrize("n", range(2))
    def test_leaves_everything_open(self, n, pg_sync_session, pg_sync_engine, pg_sync_sessionmaker):
        pg_sync_session.add(Item(name="session"))
        pg_sync_session.flush()
        connection = pg_sync_engine.connect()
        connection.execute(text("INSERT INTO item (name) VALUES ('connection')"))
        another = pg_sync_sessionmaker()
        another.add(Item(name="another"))
        another.flush()

    @pytest.mark.parametrize("n", range(2))
    def test_makes_a_temporary_table(self, n, pg_sync_session):
        pg_sync_session.execute(text("CREATE TEMP TABLE mine (id int)"))
        pg_sync_session.commit()

    @pytest.mark.parametrize("n", range(2))
    def test_hears_only_itself(self, n, pg_sync_engine):
        heard = []
        event.listen(pg_sync_engine, "checkout", lambda *_: heard.append(n))
        with pg_sync_engine.connect() as connection:
            connection.execute(select(1))
        assert heard == [n]

    @pytest.mark.parametrize("n", range(2))
    def test_runs_loops_of_its_own(self, n, pg_sync_session, pg_engine, pg_session, pg_connection):
        async def work(name):
            async with pg_engine.begin() as connection:
                await connection.execute(text(f"INSERT INTO item (name) VALUES ('{name}')"))
            left_open = await pg_engine.connect()
            await left_open.execute(select(Item))
            await pg_connection.execute(select(Item))
            return len((await pg_session.scalars(select(Item))).all())

        assert asyncio.run(work("one")) == 1
        assert asyncio.run(work("two")) == 2
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(work("three")) == 3
        loop.close()
        assert len(pg_sync_session.scalars(select(Item)).all()) == 3
