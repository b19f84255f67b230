import asyncio

import pytest
from jobs import enqueue, work_one

RESULTS = "SELECT result FROM job ORDER BY id"


async def test_a_job_without_a_worker_waits(connection):
    await enqueue(connection, "chess")

    assert await connection.fetchval(RESULTS) is None


async def test_a_job_is_done_here_without_a_worker(connection):
    await enqueue(connection, "chess")

    assert await work_one(connection)
    assert not await work_one(connection)


@pytest.mark.parametrize("text", ["chess", "go"])
async def test_the_worker_does_the_first_job(connection, done, text):
    await enqueue(connection, text)

    async with asyncio.timeout(30):
        assert await done.get() == 1
    assert await connection.fetchval(RESULTS) == text.upper()
