"""SQL over asyncpg, with a pool that the application holds."""

from decimal import Decimal

import asyncpg

THE_BANK = 1


async def open_account(pool: asyncpg.Pool, owner: str) -> int:
    return await pool.fetchval("INSERT INTO account (owner) VALUES ($1) RETURNING id", owner)


async def transfer(pool: asyncpg.Pool, giver: int, taker: int, amount: Decimal) -> None:
    """Raises asyncpg.CheckViolationError if the giver's balance is too low."""
    async with pool.acquire() as connection, connection.transaction():
        add = "UPDATE account SET balance = balance + $2 WHERE id = $1"
        await connection.execute(add, taker, amount)
        await connection.execute(add, giver, -amount)


async def balance(pool: asyncpg.Pool, account: int) -> Decimal:
    return await pool.fetchval("SELECT balance FROM account WHERE id = $1", account)
