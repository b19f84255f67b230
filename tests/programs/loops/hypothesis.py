from hypothesis import HealthCheck, given, settings, strategies

GIVEN = settings(
    max_examples=5,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@GIVEN
@given(names=strategies.sets(strategies.sampled_from("abc"), min_size=1))
async def test_sees_what_it_wrote(pg_session, pg_engine, names):
    await pg_session.rollback()
    pg_session.add_all(Item(name=name) for name in names)
    await pg_session.flush()
    assert len((await pg_session.scalars(select(Item))).all()) == len(names)
    async with pg_engine.connect() as connection:
        assert (await connection.scalars(select(Item.name))).all() == []
