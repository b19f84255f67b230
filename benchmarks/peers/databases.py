"""The server that all sides use: private, over TCP with a password, as a container would be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, create_engine, text
from sqlalchemy.pool import NullPool

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from support.servers import PrivateServer, server_directory, tcp

PASSWORD = "benchmark"
WITHOUT_FSYNC: dict[str, Any] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}
WITH_FSYNC: dict[str, Any] = {"fsync": "on"}
KEPT = "floor_"  # databases of the runner's own, which a cold start does not drop


class BenchmarkServer:
    """A running server; ``url`` is a superuser's, with a password, ``pid`` of its first process."""

    def __init__(self, url: URL, pid: int) -> None:
        self.pid = pid
        self.url = tcp(url, drivername="postgresql+psycopg", password=PASSWORD)
        self._engine = create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        socket_engine = create_engine(url.set(drivername="postgresql+psycopg"))
        with socket_engine.begin() as connection:
            connection.execute(text(f"ALTER ROLE postgres PASSWORD '{PASSWORD}'"))
        socket_engine.dispose()

    def execute(self, statement: str) -> None:
        """Execute one statement, outside of a transaction."""
        with self._engine.connect() as connection:
            connection.execute(text(statement))

    def fetch(self, query: str) -> list[str]:
        """Return the first column."""
        with self._engine.connect() as connection:
            return [str(value) for value in connection.scalars(text(query))]

    def drop_databases(self) -> None:
        """Drop all that the sides have made: the next run starts cold."""
        names = self.fetch(
            "SELECT datname FROM pg_database WHERE datname NOT IN"
            f" ('postgres', 'template0', 'template1') AND datname NOT LIKE '{KEPT}%'"
        )
        for name in names:
            self.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE false')
            self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        for role in self.fetch(r"SELECT rolname FROM pg_roles WHERE rolname LIKE 'test\_%'"):
            self.execute(f'DROP ROLE "{role}"')

    @property
    def description(self) -> dict[str, str]:
        """Its version and the settings that the benchmark makes, without its place."""
        query = (
            "SELECT name || ' = ' || setting FROM pg_settings WHERE source = 'command line'"
            " AND name NOT IN ('port', 'unix_socket_directories')"
        )
        return {
            "version": self.fetch("SHOW server_version")[0],
            "settings": ", ".join(sorted(self.fetch(query))),
        }


@contextmanager
def benchmark_server(*, fsync: bool) -> Iterator[BenchmarkServer]:
    """Run a server with fsync and what belongs to it off, or with PostgreSQL's defaults.

    It has more locks than a default one, on which 16 workers cannot migrate at the same time.
    """
    options = WITH_FSYNC if fsync else WITHOUT_FSYNC
    with server_directory() as directory:
        server = PrivateServer(
            directory, max_connections=100, max_locks_per_transaction=256, **options
        )
        server.start()
        try:
            yield BenchmarkServer(server.url, server.pid)
        finally:
            server.stop()
