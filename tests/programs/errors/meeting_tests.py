import pytest


@pytest.mark.parametrize("n", range(8))
def test_database(n, everybody):
    everybody()


@pytest.mark.parametrize("n", range(4))
def test_plain(n):
    pass
