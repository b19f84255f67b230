from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
from models import Item


class ItemFactory(SQLAlchemyFactory[Item]):
    __set_primary_key__ = False


@pytest.fixture(autouse=True)
def session_of_factories(pg_sessionmaker):
    ItemFactory.__async_session__ = pg_sessionmaker


@pytest.mark.parametrize("n", range(2))
async def test_factory(n, pg_session):
    assert [item.id for item in await ItemFactory.create_batch_async(3)] == [2, 3, 4]
    assert len((await pg_session.execute(text("SELECT id FROM item"))).all()) == 4
