pytestmark = pytest.mark.pg(scope="module")


class TestClass:
    @pytest.fixture(scope="class", params=["with", "without"])
    def data(self, pg_database, request):
        if request.param == "with":
            add(pg_database, "class")
        yield
        write(pg_database, "CREATE TABLE extra ()")

    def test_one(self, data, pg, request):
        add(pg, request.node.callspec.params["data"])


def test_two(pg):
    assert names(pg) == "reference with without"
