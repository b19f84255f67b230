@fixture
async def committed(pg_session):
    pg_session.add(Item(name="mine"))
    await pg_session.commit()
    yield
    assert len((await pg_session.scalars(select(Item))).all()) == 1


@fixture
async def begun(pg_session):
    pg_session.add(Item(name="mine"))
    await pg_session.flush()


@pytest.mark.parametrize("n", range(2))
async def test_goes_on_after_a_commit(n, committed, pg_session):
    assert len((await pg_session.scalars(select(Item))).all()) == 1
    await pg_session.commit()


async def test_leaves_its_own_transaction_open(committed, pg_sessionmaker):
    await pg_sessionmaker().scalars(select(Item))


async def test_fails_within_the_transaction_of_a_fixture(begun, pg_session):
    await pg_session.scalars(select(Item))


async def test_finds_nothing_left_of_that(pg_session):
    assert len((await pg_session.scalars(select(Item))).all()) == 0
