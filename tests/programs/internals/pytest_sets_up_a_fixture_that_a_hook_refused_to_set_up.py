import pytest
from pytest_pgtemplate._internals.pytest import forget_unstarted_fixture

refused = []


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    if fixturedef.argname == "wide" and not refused:
        refused.append(True)
        forget_unstarted_fixture(fixturedef, request)
        pytest.fail("not now")
    return (yield)


@pytest.fixture(scope="session")
def wide():
    return "value"
