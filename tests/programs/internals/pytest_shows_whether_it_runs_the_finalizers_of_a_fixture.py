import pytest
from pytest_pgtemplate._internals.pytest import is_set_up

finished = []


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    assert not is_set_up(fixturedef)
    try:
        return (yield)
    finally:
        assert is_set_up(fixturedef)
        fixturedef.addfinalizer(lambda: finished.append(fixturedef.argname))


@pytest.fixture(scope="module")
def passes(): ...


@pytest.fixture(scope="module")
def skips():
    pytest.skip("not here")
