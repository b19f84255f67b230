class TestClass:
    @classmethod
    def setup_class(cls):
        write(Database, str(INSERT))

    def test_a(self, pg):
        assert names(pg) == "a reference"

    def test_b(self, pg):
        assert names(pg) == "a reference"


@pytest.fixture
def filled(pg):
    add(pg, "a")
