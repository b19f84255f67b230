pytestmark = pytest.mark.pg(scope="module")


class TestClass:
    @pytest.fixture(scope="class")
    def data(self, pg_database):
        add(pg_database, "class")

    def test_one(self, data, pg):
        add(pg, "module")


def test_two(pg):
    assert names(pg) == "module reference"
