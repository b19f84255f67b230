loops, backends, heard = [], [], []


@fixture
async def item(pg_session):
    item = Item(name="mine")
    pg_session.add(item)
    await pg_session.commit()
    yield item
    await pg_session.refresh(item)
    assert item.name == "changed"


class TestAsync:
    @pytest.mark.parametrize("n", range(30))
    async def test_commits_the_same_as_the_others(self, n, pg_session):
        pg_session.add(Item(name="mine"))
        await pg_session.commit()
        loops.append(asyncio.get_running_loop())
        backends.append(await pg_session.scalar(select(func.pg_backend_pid())))
        assert await pg_session.scalar(COUNT_BACKENDS) <= 10

    async def test_shares_connections_with_those_that_share_its_loop(self):
        assert len(set(backends)) == len(set(loops))
        assert len(set(loops)) == (1 if SHARED else len(loops))

    async def test_has_a_fixture_that_comes_back_to_the_session(self, item, pg_session):
        item.name = "changed"
        await pg_session.flush()

    @pytest.mark.parametrize("n", range(2))
    async def test_leaves_everything_open(self, n, pg_session, pg_engine, pg_sessionmaker):
        pg_session.add(Item(name="session"))
        await pg_session.flush()
        connection = await pg_engine.connect()
        await connection.execute(text("INSERT INTO item (name) VALUES ('connection')"))
        another = pg_sessionmaker()
        another.add(Item(name="another"))
        await another.flush()

    async def test_drops_a_generator_half_way(self, pg_sessionmaker):
        async def sessions():
            async with pg_sessionmaker() as session:
                yield session

        async for session in sessions():
            session.add(Item(name="mine"))
            await session.flush()
            break

    async def test_writes_in_two_sessions_at_once(self, pg_sessionmaker):
        both = asyncio.Barrier(2)

        async def write(name):
            async with pg_sessionmaker.begin() as session:
                session.add(Item(name=name))
                await session.flush()
                await both.wait()

        await asyncio.wait_for(asyncio.gather(write("one"), write("two")), 10)

    async def test_takes_a_connection(self, pg_connection):
        await pg_connection.execute(text("INSERT INTO item (name) VALUES ('mine')"))
        await pg_connection.commit()
        assert await pg_connection.scalar(text("SELECT name FROM item")) == "mine"

    @pytest.mark.parametrize("n", range(2))
    async def test_hears_only_itself(self, n, pg_engine):
        heard.clear()
        for name in "before_cursor_execute", "checkout":
            event.listen(pg_engine.sync_engine, name, lambda *_: heard.append(1))
        async with pg_engine.connect() as connection:
            await connection.execute(select(1))
        assert len(heard) == 2

    @pytest.mark.parametrize("n", range(2))
    async def test_makes_a_temporary_table(self, n, pg_session):
        await pg_session.execute(text("CREATE TEMP TABLE mine (id int)"))
        await pg_session.commit()

    async def test_disposes_of_the_engine(self, pg_engine, pg_session):
        await pg_session.execute(select(1))
        await pg_engine.dispose()
        async with pg_engine.connect() as connection:
            await connection.execute(select(1))
