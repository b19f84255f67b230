import asyncio
import os
import sys
import asyncpg


async def main():
    connection = await asyncpg.connect(os.environ["TOOL_URL"])
    await connection.execute(f"CREATE TABLE {sys.argv[1]} (id int)")
    await connection.close()


asyncio.run(main())
