import os
import time
import pytest

os.getloadavg = lambda: (0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def late(request):
    if os.environ["PYTEST_XDIST_WORKER"] == "gw1":
        deadline = time.monotonic() + 60
        while not os.path.exists("spare"):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("n", range(4))
def test_it(late, n, request):
    database = request.getfixturevalue("pg_database")
    if os.environ["PYTEST_XDIST_WORKER"] == "gw0":
        from pytest_pgtemplate._run import RUN

        request.config.stash[RUN].main.worker._spare_pool.wait()
        open("spare", "w").close()
