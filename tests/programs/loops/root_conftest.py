import logging
import time

import asyncpg
import pytest

from models import Base
from pytest_pgtemplate import Metadata
from pytest_pgtemplate._server import connection as _connect
from pytest_pgtemplate._server import portal as _portal

BUSY = """
    SELECT state, query FROM pg_stat_activity
     WHERE datname = $1 AND state <> 'idle' AND application_name NOT LIKE 'pytest-pgtemplate%'
"""


class Complaints(logging.Handler):
    def __init__(self):
        super().__init__(logging.ERROR)
        self.texts = []

    def emit(self, record):
        self.texts.append(self.format(record))


complaints = Complaints()
logging.getLogger().addHandler(complaints)


class Watch:
    def __init__(self, url, database):
        opening = _connect.connect(url, timeout=60, application="pytest-pgtemplate watch")
        self.connection = _portal.run(opening, timeout=60)
        self.database = database

    def busy(self):
        return _portal.run(self.connection.fetch(BUSY, self.database), timeout=60)

    def close(self):
        _portal.run(self.connection.close(), timeout=60)


@pytest.fixture(scope="session")
def pg_migrations():
    return Metadata(Base.metadata)


@pytest.fixture(scope="session", autouse=True)
def watch(pg_server, pg_database, pytestconfig):
    pytestconfig.watch = Watch(pg_server.url, pg_database.name)
    pytestconfig.add_cleanup(pytestconfig.watch.close)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    result = yield
    deadline = time.monotonic() + 1
    while (found := item.config.watch.busy()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found == []
    assert complaints.texts == []
    return result
