import os
import pathlib
import time
import pytest
from sqlalchemy import text


@pytest.mark.parametrize("n", range(8))
def test_meeting(n, pg_sync_session):
    """Wait until every worker has a database: each worker runs two of these tests."""
    port = pg_sync_session.scalar(text("SHOW port"))
    meeting = pathlib.Path("meeting")
    (meeting / f"{os.environ['PYTEST_XDIST_WORKER']} {port}").touch()
    deadline = time.monotonic() + 60
    while len(list(meeting.iterdir())) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
