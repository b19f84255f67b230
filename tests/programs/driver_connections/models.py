import pytest
from pathlib import Path
from pytest_pgtemplate import SqlFiles
from sqlalchemy import event, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase): ...


class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


@pytest.fixture(scope="session")
def pg_migrations():
    return SqlFiles(Path(__file__).parent / "schema.sql")


@pytest.fixture(scope="session")
def product(pg_shared):
    with pg_shared.sync_sessionmaker.begin() as session:
        made = Product(name="shared")
        session.add(made)
    return made


kept = []
