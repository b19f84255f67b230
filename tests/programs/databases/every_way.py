import asyncio
import pytest
from sqlalchemy import text

ROLLBACK = pytest.mark.pg(isolation="rollback")
INSERT, ALL = text("INSERT INTO bill VALUES ('x')"), text("SELECT name FROM bill")


def test_sync(pg_sync_session, pg_orders_sync_session):
    assert pg_sync_session.scalars(text("SELECT name FROM item")).all() == ["first"]
    pg_orders_sync_session.execute(INSERT)
    pg_orders_sync_session.commit()


@pytest.mark.parametrize("how", [pytest.param("rollback", marks=ROLLBACK), "truncate"])
def test_async(how, pg_orders_session, pg_orders_connection):
    async def test():
        assert (await pg_orders_connection.scalars(ALL)).all() == []
        await pg_orders_connection.commit()
        await pg_orders_session.execute(INSERT)
        await pg_orders_session.commit()
        assert (await pg_orders_connection.scalars(ALL)).all() == ["x"]

    asyncio.run(test())


@pytest.mark.pg(isolation="clone")
def test_schema(pg_orders_sync_engine):
    with pg_orders_sync_engine.begin() as connection:
        assert connection.scalars(ALL).all() == []
        connection.execute(text("DROP TABLE bill"))


def test_nothing_is_left(pg_orders, pg_orders_shared, pg_orders_template, pg_template):
    with pg_orders_shared.sync_sessionmaker() as session:
        assert session.scalars(ALL).all() == []
    assert pg_orders.url.render_as_string(hide_password=False) == pg_orders_shared.url
    assert pg_orders.template is pg_orders_template is not pg_template
