import os
import signal
import psycopg
import pytest
from sqlalchemy import text


@pytest.mark.parametrize("n", range(3))
def test_database(n, pg, pg_sync_session):
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('mine')"))
    pg_sync_session.commit()
    if n == 1:
        os.kill(int(os.environ["POSTMASTER"]), signal.SIGQUIT)
        with pytest.raises(psycopg.OperationalError):
            while True:
                psycopg.connect(pg.dsn).close()


def test_plain():
    pass
