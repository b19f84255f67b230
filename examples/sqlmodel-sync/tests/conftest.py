import pytest
from fastapi.testclient import TestClient
from heroes import SQLModel, Team, app
from sqlmodel import Session

from pytest_pgtemplate import Metadata


@pytest.fixture(scope="session")
def pg_migrations():
    return Metadata(SQLModel.metadata)


@pytest.fixture(scope="session")
def pg_session_options():
    return {"class_": Session}  # SQLModel's, which has .exec()


@pytest.fixture(scope="module")
def team_id(pg_shared):
    """A team that exists when each test of the module starts; a test may change or delete it."""
    with pg_shared.sync_sessionmaker.begin() as session:
        session.add(team := Team(name="Preventers"))
        session.flush()
        return team.id


@pytest.fixture
def client(pg):  # pg isolates the test; pg_bind binds the sessions of the application
    return TestClient(app)
