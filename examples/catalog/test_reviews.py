from decimal import Decimal

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from catalog.db import DBSessionManager
from catalog.models import Product, Review
from catalog.service import add_product, add_review, average_rating, get_product

pytestmark = pytest.mark.asyncio


async def test_the_average_counts_only_the_reviews_of_its_product(db: DBSessionManager) -> None:
    async with db.asessionmaker() as session:
        chess = await add_product(session, "CHESS-01", "Chess set", Decimal("49.90"))
        go = await add_product(session, "GO-01", "Go set", Decimal("89.00"))
        for rating in ("5.0", "4.5", "3.5"):
            await add_review(session, chess, Decimal(rating))
        await add_review(session, go, Decimal("1.0"))

        assert await average_rating(session, chess) == Decimal("4.3")


async def test_a_product_without_reviews_has_no_average(db: DBSessionManager) -> None:
    async with db.asessionmaker() as session:
        product = await add_product(session, "CHESS-01", "Chess set", Decimal("49.90"))

        assert await average_rating(session, product) is None


async def test_a_product_comes_with_its_reviews(db: DBSessionManager) -> None:
    async with db.asessionmaker() as session:
        product = await add_product(session, "CHESS-01", "Chess set", Decimal("49.90"))
        await add_review(session, product, Decimal("4.5"), "A fine set")

    async with db.asessionmaker() as session:
        found = await get_product(session, "CHESS-01")

    assert found is not None
    assert [review.comment for review in found.reviews] == ["A fine set"]


async def test_reviews_are_deleted_with_their_product(db: DBSessionManager) -> None:
    async with db.asessionmaker() as session:
        product = await add_product(session, "CHESS-01", "Chess set", Decimal("49.90"))
        await add_review(session, product, Decimal("4.5"))

        await session.execute(delete(Product).where(Product.id == product.id))
        await session.commit()

        assert await session.scalar(select(func.count(Review.id))) == 0


@pytest.mark.parametrize("rating", ["0.9", "5.1"])
async def test_a_session_can_be_used_after_a_rating_out_of_range(
    db: DBSessionManager, rating: str
) -> None:
    async with db.asessionmaker() as session:
        product = await add_product(session, "CHESS-01", "Chess set", Decimal("49.90"))
        with pytest.raises(IntegrityError, match="ck_review_rating_range"):
            await add_review(session, product, Decimal(rating))
        await session.rollback()

        await session.refresh(product)
        await add_review(session, product, Decimal("5.0"))

        assert (await session.scalars(select(Review.rating))).all() == [Decimal("5.0")]
