import pytest
from conftest import COUNT, add


@pytest.fixture(scope="module")
def rows(request):
    add(request)


@pytest.mark.parametrize("number", [1, 2])
def test_the_rows_are_there(rows, number, request):
    session = request.getfixturevalue("pg_sync_session")
    assert session.scalar(COUNT) == 1
    add(request)
