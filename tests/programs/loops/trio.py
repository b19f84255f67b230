@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_with_the_database(anyio_backend, pg_session):
    pass


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_without(anyio_backend):
    pass
