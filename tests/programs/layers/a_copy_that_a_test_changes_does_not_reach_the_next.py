from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase): ...


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


@pytest.fixture(scope="module")
def the_item(pg_shared):
    with pg_shared.sync_sessionmaker.begin() as session:
        item = Item(name="shared")
        session.add(item)
    return item


@pytest.fixture
def item(the_item, pg_sync_session):
    return pg_sync_session.merge(the_item, load=False)


@pytest.mark.parametrize("n", range(2))
def test_one(n, item, pg_sync_session):
    assert item.name == "shared"
    item.name = "mine"
    pg_sync_session.commit()
    assert pg_sync_session.scalar(select(Item.name).where(Item.id == item.id)) == "mine"
