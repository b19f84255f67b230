import pytest
from sqlalchemy import text

# This worker's own, and those over which the plugin does its work.
BREAK = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
 WHERE pid <> pg_backend_pid()
   AND (datname = current_database() OR application_name LIKE 'pytest-pgtemplate%')
"""


@pytest.mark.parametrize("n", range(6))
def test_break(n, pg_sync_session):
    assert pg_sync_session.scalars(text("SELECT name FROM item")).all() == ["reference"]
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('mine')"))
    pg_sync_session.commit()
    if n in (1, 2, 5):
        assert pg_sync_session.execute(text(BREAK)).all()
