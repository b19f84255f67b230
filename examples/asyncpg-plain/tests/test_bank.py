import asyncio
from decimal import Decimal

import asyncpg
import pytest
from bank import THE_BANK, balance, open_account, transfer


@pytest.mark.parametrize("owner", ["Ada", "Grace"])
async def test_the_first_account_follows_the_bank(pool, owner):
    assert await open_account(pool, owner) == THE_BANK + 1


@pytest.mark.parametrize("amount", [Decimal(400), Decimal(1000000)])
async def test_the_bank_is_as_rich_for_every_test(pool, amount):
    ada = await open_account(pool, "Ada")

    await transfer(pool, THE_BANK, ada, amount)

    assert await balance(pool, ada) == amount
    assert await balance(pool, THE_BANK) == 1000000 - amount


async def test_a_transfer_needs_enough_money(pool):
    ada = await open_account(pool, "Ada")

    with pytest.raises(asyncpg.CheckViolationError):
        await transfer(pool, ada, THE_BANK, Decimal(1))

    assert await balance(pool, THE_BANK) == 1000000


async def test_transfers_at_the_same_time_lose_nothing(pool):
    accounts = [await open_account(pool, name) for name in ("Ada", "Grace")]

    await asyncio.gather(*(transfer(pool, THE_BANK, to, Decimal(10)) for to in accounts * 5))

    assert [await balance(pool, account) for account in accounts] == [50, 50]
