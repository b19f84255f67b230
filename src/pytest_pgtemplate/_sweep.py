"""Remove what ended runs left behind, and templates that nobody has used for long.

Off the critical path: one worker of a run sweeps, in a thread, on a connection of its own. Any number
of runs and hosts may sweep at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from sqlalchemy.engine import URL

from pytest_pgtemplate._marks import Database
from pytest_pgtemplate._server import Server
from pytest_pgtemplate.errors import PgTemplateError

HOUR = 3600
KEPT_FOR = 7 * 24 * HOUR  # seconds that a database put aside by --pg-keep is left alone
TEMPLATES = 5  # templates per prefix that stay, the last used first
IN_USE = 24 * HOUR  # seconds since its last use in which a template stays in any case


def in_background(url: URL, template: str, prefix: str, *, timeout: float) -> threading.Thread:
    """Start a sweep and return its thread. What fails there is left to the next run."""

    def work() -> None:
        with suppress(PgTemplateError):
            server = Server(url, timeout=timeout)
            try:
                touch(server, template)
                sweep(server, prefix)
            finally:
                server.close()

    thread = threading.Thread(target=work, name="pgtemplate-sweep", daemon=True)
    thread.start()
    return thread


def sweep(server: Server, prefix: str) -> list[str]:
    """Drop the databases that have no owner any more; return their names."""
    now = int(time.time())
    databases = server.databases()
    ended = [each.name for each in databases if _has_ended(each, now)]
    return [name for name in ended + _superseded(databases, prefix, now) if _drop(server, name)]


def touch(server: Server, template: str) -> None:
    """Keep the time of a template's last use, to the hour: each note waits for running clones."""
    found = server.find(template)
    if found and found.mark and found.mark.used < time.time() - HOUR:
        server.touch(template)


def _has_ended(database: Database, now: int) -> bool:
    """A lease is taken before its database exists: without one, its process has ended."""
    if database.leased or database.sealed:
        return False
    if database.mark is not None and database.mark.kind == "kept":
        return database.mark.used < now - KEPT_FOR
    return True


def _superseded(databases: Iterable[Database], prefix: str, now: int) -> list[str]:
    templates = [
        (each.mark.used, each.name)
        for each in databases
        if each.mark and each.sealed and each.name.startswith(f"{prefix}_tpl_")
    ]
    oldest_last = sorted(templates, reverse=True)
    return [name for used, name in oldest_last[TEMPLATES:] if used < now - IN_USE]


def _drop(server: Server, name: str) -> bool:
    with suppress(PgTemplateError):  # another role's, or another sweep was faster
        server.drop(name)
        return True
    return False
