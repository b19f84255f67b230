import pytest


@pytest.mark.full
def test_long():
    pass


@pytest.mark.full("product")
@pytest.mark.parametrize("a", range(2))
@pytest.mark.parametrize("b", range(2))
@pytest.mark.parametrize("c", range(2))
def test_product(a, b, c):
    pass


def test_short():
    pass
