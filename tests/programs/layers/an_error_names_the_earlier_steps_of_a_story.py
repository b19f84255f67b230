pytestmark = pytest.mark.pg(scope="module")


class TestClass:
    @pytest.fixture(scope="class")
    def data(self, pg_database):
        add(pg_database, "class")

    def test_one(self, data, pg):
        write(pg, "CREATE TABLE extra ()")

    def test_two(self, data, pg): ...


def test_three(pg): ...
