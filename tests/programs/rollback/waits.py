import app
import pytest
from conftest import item
from pytest_pgtemplate._engines import rollback
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

rollback.LOCK_TIMEOUT = "50ms"
ADD = item.insert().values(id=1, name="one")
SHOW = text("SHOW lock_timeout")
HINT = 'isolation="rollback", pg_session keeps its locks'


def add(connecting):
    with connecting as connection:
        connection.execute(ADD)
        connection.commit()


@pytest.fixture
def held(pg_shared):
    with pg_shared.sync_engine.connect() as connection:
        yield connection


WAITING = {
    "session": lambda get: add(get("pg_sync_sessionmaker")()),
    "held": lambda get: add(get("held")),
    "shared": lambda get: add(get("pg_shared").sync_sessionmaker()),
    "application": lambda get: add(app.engine.connect()),
    "autocommit": lambda get: add(
        get("pg_sync_engine").connect().execution_options(isolation_level="AUTOCOMMIT")
    ),
}


@pytest.mark.pg(isolation="rollback")
@pytest.mark.parametrize("name", WAITING)
def test_waits(request, held, pg_sync_session, name):
    pg_sync_session.execute(ADD)
    pg_sync_session.commit()
    with pytest.raises(DBAPIError) as caught:
        WAITING[name](request.getfixturevalue)
    assert HINT in "".join(caught.value.__notes__)


@pytest.mark.pg(isolation="rollback")
def test_raw(pg_sync_session, pg_sync_engine):
    pg_sync_session.execute(ADD)
    pg_sync_session.commit()
    pg_sync_engine.raw_connection().cursor().execute("INSERT INTO item VALUES (1, 'one')")


@pytest.mark.pg(isolation="rollback")
async def test_async(pg_session, pg_sessionmaker):
    await pg_session.execute(ADD)
    await pg_session.commit()
    async with pg_sessionmaker() as other:
        with pytest.raises(DBAPIError) as caught:
            await other.execute(ADD)
    assert HINT in "".join(caught.value.__notes__)


@pytest.mark.pg(isolation="rollback")
def test_of_its_own(pg_sync_session):
    pg_sync_session.execute(text("SET lock_timeout = '1h'"))
    pg_sync_session.commit()
    assert pg_sync_session.scalar(SHOW) == "1h"


async def test_later(held, pg_session, pg_sync_session, pg_shared):
    with app.engine.connect() as other, pg_shared.sync_sessionmaker() as shared:
        for connection in held, pg_sync_session, other, shared:
            assert connection.scalar(SHOW) == "0"
    assert await pg_session.scalar(SHOW) == "0"
