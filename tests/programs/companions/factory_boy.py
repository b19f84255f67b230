import factory
from models import Item


class ItemFactory(factory.alchemy.SQLAlchemyModelFactory):
    class Meta:
        model = Item
        sqlalchemy_session_persistence = "commit"

    name = factory.Faker("word")
    id = None


@pytest.fixture(autouse=True)
def session_of_factories(pg_sync_session):
    ItemFactory._meta.sqlalchemy_session = pg_sync_session


@pytest.mark.parametrize("n", range(2))
def test_factory(n, pg_sync_session):
    assert [item.id for item in ItemFactory.create_batch(3)] == [2, 3, 4]
    assert len(rows(pg_sync_session)) == 4
