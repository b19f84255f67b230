"""Which server a test runs on, as which role, and how databases are tracked.

Nothing here is a test.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._server import Server

TIMEOUT = 30.0  # seconds for anything at all: nothing may hang


@dataclass(frozen=True)
class Kind:
    """How a database is tracked, who owns it, and where it is."""

    tracking: str
    role: str
    server: str

    def __str__(self) -> str:
        return f"{self.tracking}-{self.role}-{self.server}"

    @property
    def superuser(self) -> bool:
        return self.role == "superuser"


KINDS = [
    Kind(tracking, role, server)
    for server in ("embedded", "system")
    for role in ("superuser", "plain")
    for tracking in ("triggers", "scan")
]


def url_of(request: pytest.FixtureRequest, server: str) -> URL:
    """The URL of a ``Kind.server``, as a superuser: PostgreSQL 18, or the system's older one."""
    given = request.getfixturevalue("server_url" if server == "embedded" else "system_url")
    return _urls.parse(given) if isinstance(given, str) else given


@contextmanager
def server_as(url: URL, role: str) -> Iterator[Server]:
    """The server as a superuser sees it, or as a role that may only create databases."""
    root = Server(url, timeout=TIMEOUT)
    try:
        if not root.facts.superuser:
            pytest.skip("the role in PGTEMPLATE_URL is no superuser, who is needed to look on")
        if role == "superuser":
            yield root
            return
        name = f"pgt_plain_{secrets.token_hex(4)}"
        root._execute(f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD 'secret'")
        try:
            plain = Server(url.set(username=name, password="secret"), timeout=TIMEOUT)
            try:
                yield plain
            finally:
                plain.close()
        finally:
            root._execute(f"DROP ROLE {name}")
    finally:
        root.close()
