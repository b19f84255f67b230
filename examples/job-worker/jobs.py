"""A queue in the database, and a worker that takes from it: ``python -m jobs`` runs one.

As with arq or Celery, the worker is a process that opens connections of its own.
"""

import asyncio
import os

import asyncpg

TAKE = """
    SELECT id, text FROM job WHERE result IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
"""


async def enqueue(connection: asyncpg.Connection, text: str) -> int:
    job = await connection.fetchval("INSERT INTO job (text) VALUES ($1) RETURNING id", text)
    await connection.execute("NOTIFY job_waits")
    return job


async def work_one(connection: asyncpg.Connection) -> bool:
    """Do the job that waits longest; False when none does."""
    async with connection.transaction():
        job = await connection.fetchrow(TAKE)
        if job is None:
            return False
        done = "UPDATE job SET result = $2 WHERE id = $1"
        await connection.execute(done, job["id"], job["text"].upper())
        await connection.execute("SELECT pg_notify('job_done', $1)", str(job["id"]))
    return True


async def main() -> None:
    connection = await asyncpg.connect(os.environ["JOBS_DATABASE"])
    waiting = asyncio.Event()
    connection.add_termination_listener(lambda _: os._exit(1))  # its supervisor restarts it
    await connection.add_listener("job_waits", lambda *_: waiting.set())
    print("ready", flush=True)
    while True:
        while await work_one(connection):
            pass
        await waiting.wait()
        waiting.clear()


if __name__ == "__main__":
    asyncio.run(main())
