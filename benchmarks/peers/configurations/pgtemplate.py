"""pytest-pgtemplate. It finds alembic.ini by itself; PGTEMPLATE_URL names the server."""

import pytest
from sqlalchemy.orm import Session


@pytest.fixture
def session(pg_sync_session: Session) -> Session:
    return pg_sync_session
