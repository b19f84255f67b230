import app
import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase): ...


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


kept = []


@pytest.fixture(scope="module")
def item(pg_shared):
    with pg_shared.sync_sessionmaker.begin() as session:
        made = Item(name="shared")
        session.add(made)
    return made


@pytest.mark.parametrize("n", range(2))
async def test_async(n, item, pg):
    kept.append(app.Session())
    kept[-1].add(item)
    await kept[-1].commit()


@pytest.mark.parametrize("n", range(2))
def test_sync(n, item, pg):
    kept.append(app.SyncScoped())
    kept[-1].add(item)
    kept[-1].commit()
