"""What the application does. Like most application code, it commits for itself."""

import os
from collections.abc import Iterable
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, selectinload

from catalog.db import DBSessionManager
from catalog.models import Product, Review


async def add_product(session: AsyncSession, sku: str, name: str, price: Decimal) -> Product:
    product = Product(sku=sku, name=name, price=price)
    session.add(product)
    await session.commit()
    return product


async def get_product(session: AsyncSession, sku: str) -> Product | None:
    """The product with its category and its reviews."""
    return await session.scalar(
        select(Product)
        .where(Product.sku == sku)
        .options(joinedload(Product.category), selectinload(Product.reviews))
    )


async def add_review(
    session: AsyncSession, product: Product, rating: Decimal, comment: str = ""
) -> Review:
    review = Review(product_id=product.id, rating=rating, comment=comment)
    session.add(review)
    await session.commit()
    return review


async def average_rating(session: AsyncSession, product: Product) -> Decimal | None:
    """The mean of all ratings to one decimal place, or ``None`` when there are none."""
    average: Decimal | None = await session.scalar(
        select(func.round(func.avg(Review.rating), 1)).where(Review.product_id == product.id)
    )
    return average


async def import_products(rows: Iterable[tuple[str, str, Decimal]]) -> None:
    """Add new products and update known ones, from rows of sku, name and price.

    The nightly job. It takes no session: it reads the database's URL from the environment.
    """
    products = [{"sku": sku, "name": name, "price": price} for sku, name, price in rows]
    statement = insert(Product)
    upsert = statement.on_conflict_do_update(
        index_elements=[Product.sku],
        set_={"name": statement.excluded.name, "price": statement.excluded.price},
    )
    manager = DBSessionManager(os.environ["POSTGRES_DSN"])
    try:
        async with manager.asessionmaker.begin() as session:
            await session.execute(upsert, products)
    finally:
        await manager.close()
