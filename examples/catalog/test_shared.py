"""A catalogue that is built once for all tests of this module; each finds it whole."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import delete, func, select

from catalog.db import DBSessionManager
from catalog.models import Product, Review
from catalog.service import add_review, average_rating, get_product

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(scope="module")
async def products(pg_shared: Any) -> list[UUID]:
    """Ids, not objects: what a fixture returns is shared, too, and no reset brings it back."""
    made = [Product(sku=f"GO-{n:02}", name="Go", price=Decimal(20)) for n in range(50)]
    async with pg_shared.sessionmaker.begin() as session:
        session.add_all(made)
    return [product.id for product in made]


@pytest.mark.parametrize("kept", [0, 20, 40])
async def test_what_a_test_deletes_is_there_for_the_next(
    db: DBSessionManager, products: list[UUID], kept: int
) -> None:
    async with db.asessionmaker.begin() as session:
        await session.execute(delete(Product).where(Product.id.in_(products[kept:])))

    async with db.asessionmaker() as session:
        assert await session.scalar(select(func.count()).select_from(Product)) == kept


@pytest.mark.parametrize("rating", [1, 5])
async def test_a_row_that_a_test_adds_is_removed(
    db: DBSessionManager, products: list[UUID], rating: int
) -> None:
    async with db.asessionmaker() as session:
        product = await get_product(session, "GO-01")
        assert product is not None
        assert product.id in products

        await add_review(session, product, Decimal(rating))

        assert await average_rating(session, product) == rating
        assert await session.scalar(select(func.count()).select_from(Review)) == 1
