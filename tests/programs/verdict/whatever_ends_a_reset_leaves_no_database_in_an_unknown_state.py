from pytest_pgtemplate._reset import Resetter


@pytest.fixture(scope="session")
def pg_other_migrations(pg_migrations):
    return pg_migrations


reset, events = Resetter.reset, []


def pytest_runtest_teardown():
    events.append("teardown")


def interrupted(self, *arguments):
    if events == ["teardown"]:
        events.append("interrupt")
        pytest.fail("Timeout >5.0s")
    return reset(self, *arguments)


Resetter.reset = interrupted
