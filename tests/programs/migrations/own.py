import asyncpg
import asyncio
import pytest


class Own:
    def fingerprint(self):
        yield b"own"
        yield b"1"

    def migrate(self, target):
        async def run():
            connection = await asyncpg.connect(
                target.url.set(drivername="postgresql").render_as_string(hide_password=False)
            )
            await connection.execute(
                "CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY, name text)"
            )
            await connection.execute("INSERT INTO item (name) VALUES ('reference')")
            await connection.close()

        assert target.timeout == 60
        asyncio.run(run())


@pytest.fixture(scope="session")
def pg_migrations():
    return Own()
