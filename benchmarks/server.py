"""The server that a benchmark runs on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pytest_pgtemplate._cli import server_connection
from pytest_pgtemplate._server import Server

TIMEOUT = 600.0  # seconds for any one step


def drop_all(server: Server, prefix: str) -> None:
    """Drop the databases of a benchmark."""
    for database in server.databases():
        if database.name.startswith(f"{prefix}_"):
            server.drop(database.name)


@contextmanager
def server_at(url: str | None = None) -> Iterator[Server]:
    """That of ``url``, or of PGTEMPLATE_URL, else the embedded one, which runs meanwhile."""
    url = url or os.environ.get("PGTEMPLATE_URL")
    with server_connection.server(url, (None, None, False), TIMEOUT) as server:
        yield server
