import os
import signal
import pytest
from sqlalchemy import text


@pytest.mark.parametrize("n", range(8))
def test_database(n, pg_sync_session):
    assert pg_sync_session.scalars(text("SELECT name FROM item")).all() == ["reference"]
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('mine')"))
    pg_sync_session.commit()
    if n == 2:
        os._exit(0)
    if n == 5:
        os.kill(os.getpid(), signal.SIGKILL)
