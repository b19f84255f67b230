import os
import pathlib
import pytest
import time

MEETING = pathlib.Path(os.environ["MEETING"])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "setup" and "pg" in item.fixturenames:
        (MEETING / os.environ["PYTEST_XDIST_WORKER"]).touch()
    return report


@pytest.fixture
def everybody(pg):
    """Hold the database until every worker has tried to get one."""

    def wait():
        deadline = time.monotonic() + 60
        while len(list(MEETING.iterdir())) < 4:
            assert time.monotonic() < deadline

    return wait
