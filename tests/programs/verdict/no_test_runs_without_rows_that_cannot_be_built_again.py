times = []


@pytest.fixture(scope="module")
def single(shared, pg_database):
    write(pg_database, "INSERT INTO product (name) VALUES ('single')")
    times.append(1)
    assert len(times) == 1, "it cannot be had again"


def test_one(single, pg):
    end_all_others(pg)


def test_two(single, pg): ...
def test_three(pg): ...
def test_four(): ...
