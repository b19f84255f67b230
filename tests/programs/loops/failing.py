@fixture
async def failing(pg_session):
    yield
    pg_session.add(Item(name="mine"))
    await pg_session.commit()
    raise RuntimeError


@pytest.mark.parametrize("n", range(2))
async def test_starts_with_an_empty_table(n, pg_session, failing):
    assert len((await pg_session.scalars(select(Item))).all()) == 0
