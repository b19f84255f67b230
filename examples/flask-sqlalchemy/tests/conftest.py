import pytest
from notes import create_app, db
from sqlalchemy.engine import make_url

from pytest_pgtemplate import Metadata


@pytest.fixture(scope="session")
def pg_migrations():
    return Metadata(db.metadata)


@pytest.fixture(scope="session")
def app(pg_url):
    """One application for all tests: its engine and pool live as long."""
    url = make_url(pg_url).set(drivername="postgresql+psycopg")
    return create_app(url.render_as_string(hide_password=False))


@pytest.fixture
def client(pg, app):
    with app.app_context():
        yield app.test_client()
