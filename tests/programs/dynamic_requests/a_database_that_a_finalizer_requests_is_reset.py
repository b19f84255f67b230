import pytest
from conftest import COUNT, add


@pytest.fixture
def cleaned(request):
    yield
    add(request)


@pytest.fixture(scope="session", autouse=True)
def kept(request):
    """Wider than the test, so that the session's fixtures outlive it."""


def test_one(cleaned):
    pass


def test_two(request):
    assert request.getfixturevalue("pg_sync_session").scalar(COUNT) == 0
