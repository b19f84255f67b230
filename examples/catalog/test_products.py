import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from catalog.db import DBSessionManager
from catalog.models import Product
from catalog.service import add_product, get_product, import_products

pytestmark = pytest.mark.asyncio


async def test_the_database_fills_in_key_and_time_of_a_product(db: DBSessionManager) -> None:
    async with db.asessionmaker() as session:
        product = await add_product(session, "CHESS-01", "Chess set", Decimal("49.90"))

    assert product.id.version == 4
    assert abs(datetime.now(UTC) - product.created_at) < timedelta(minutes=5)


async def test_a_product_is_seen_by_others_once_it_is_committed(db: DBSessionManager) -> None:
    async with db.asessionmaker() as writer, db.asessionmaker() as reader:
        writer.add(Product(sku="CHESS-01", name="Chess set", price=Decimal("49.90")))
        await writer.flush()
        assert await get_product(reader, "CHESS-01") is None

        await writer.commit()
        product = await get_product(reader, "CHESS-01")

    assert product is not None
    assert (product.name, product.price) == ("Chess set", Decimal("49.90"))


async def test_two_transactions_write_side_by_side(db: DBSessionManager) -> None:
    both_have_written = asyncio.Barrier(2)

    async def write(sku: str) -> None:
        async with db.asessionmaker.begin() as session:
            session.add(Product(sku=sku, name="Chess set", price=Decimal("49.90")))
            await session.flush()
            await both_have_written.wait()

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(write("CHESS-01"))
        tasks.create_task(write("CHESS-02"))

    async with db.asessionmaker() as session:
        skus = await session.scalars(select(Product.sku).order_by(Product.sku))
        assert skus.all() == ["CHESS-01", "CHESS-02"]


async def test_of_two_that_want_the_same_sku_one_gets_it(db: DBSessionManager) -> None:
    async def add(name: str) -> str:
        async with db.asessionmaker() as session:
            return (await add_product(session, "CHESS-01", name, Decimal("49.90"))).name

    outcomes = await asyncio.gather(add("Staunton"), add("Lewis"), return_exceptions=True)

    [winner] = [outcome for outcome in outcomes if isinstance(outcome, str)]
    [loser] = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    assert isinstance(loser, IntegrityError)
    async with db.asessionmaker() as session:
        assert (await session.scalars(select(Product.name))).all() == [winner]


async def test_the_import_finds_the_database_through_the_environment(db: DBSessionManager) -> None:
    await import_products(
        [("CHESS-01", "Chess set", Decimal("49.90")), ("GO-01", "Go set", Decimal("89.00"))]
    )

    async with db.asessionmaker() as session:
        assert await session.scalar(select(func.sum(Product.price))) == Decimal("138.90")


async def test_the_import_updates_a_product_that_is_known(db: DBSessionManager) -> None:
    async with db.asessionmaker() as session:
        product = await add_product(session, "CHESS-01", "Chess set", Decimal("49.90"))

        await import_products([("CHESS-01", "Chess set, oak", Decimal("59.90"))])
        await session.refresh(product)

    assert (product.name, product.price) == ("Chess set, oak", Decimal("59.90"))
