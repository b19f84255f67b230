"""Tests that commit. Each would fail if another test's work were still there."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.db import DBSessionManager
from catalog.models import Category, Product
from catalog.service import add_product

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("name", ["Staunton", "Lewis", "Bauhaus", "Travel"])
async def test_a_test_has_the_table_to_itself(db: DBSessionManager, name: str) -> None:
    async with db.asessionmaker() as session:
        await add_product(session, "CHESS-01", name, Decimal("49.90"))

        assert (await session.scalars(select(Product.name))).all() == [name]


@pytest.mark.parametrize("name", ["Books", "Games", "Music"])
async def test_rows_that_a_migration_inserted_come_back(db: DBSessionManager, name: str) -> None:
    async with db.asessionmaker() as session:
        categories = (await session.scalars(select(Category).order_by(Category.id))).all()
        assert [category.name for category in categories] == ["Books", "Games", "Music"]
        product = await add_product(session, "CHESS-01", "Chess set", Decimal("49.90"))
        product.category_id = next(c.id for c in categories if c.name == name)
        await session.commit()

        await session.execute(delete(Category))
        await session.commit()
        await session.refresh(product)

    assert product.category_id is None


@pytest.mark.parametrize("name", ["Garden", "Kitchen"])
async def test_ids_go_on_from_where_the_migrations_left_them(
    db: DBSessionManager, name: str
) -> None:
    async with db.asessionmaker.begin() as session:
        category = Category(name=name)
        session.add(category)

    assert category.id == 4


async def test_the_plugins_session_and_the_applications_share_a_database(
    pg_session: AsyncSession, db: DBSessionManager
) -> None:
    await add_product(pg_session, "CHESS-01", "Chess set", Decimal("49.90"))

    async with db.asessionmaker() as session:
        assert await session.scalar(select(Product.name)) == "Chess set"


async def test_the_application_is_in_this_workers_database(
    db: DBSessionManager, pg_database: Any
) -> None:
    async with db.asessionmaker() as session:
        assert await session.scalar(select(func.current_database())) == pg_database.name
