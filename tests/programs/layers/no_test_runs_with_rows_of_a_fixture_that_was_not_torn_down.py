tried = []


@pytest.fixture(scope="module")
def service():
    tried.append(1)
    if len(tried) == 1:
        raise ConnectionError


@pytest.fixture(scope="module")
def rows(pg_database):
    add(pg_database, "of module a")


@pytest.mark.flaky(reruns=1)
def test_a(service, rows, pg): ...
