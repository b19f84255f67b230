@pytest.fixture(scope="module", params=["a", "b"])
def above(request, shared, pg_database):
    write(pg_database, f"INSERT INTO product (name) VALUES ('{request.param}{shared}')")
    yield request.param
    assert names(pg_database) == f"shared {request.param}1"  # as it was written


@pytest.mark.parametrize("n", range(3))
def test_one(above, pg, n):
    assert names(pg) == f"shared {above}1"
    if above == "b" and n == 1:
        end_all_others(pg)


def test_two(shared, pg):
    assert names(pg) == "shared b1"
