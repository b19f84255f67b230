"""Remove what ended runs left behind, and templates that nobody has used for long.

Off the critical path: one worker of a run sweeps, in a thread with a connection of its own. Any
number of runs and hosts may sweep at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from pytest_pgtemplate._display import progress_file
from pytest_pgtemplate._server import Database, Server
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import spares
from pytest_pgtemplate.errors import PgTemplateError

HOUR = 3600
DAY = 24 * HOUR
KEPT_FOR = 7 * DAY  # that a database put aside by --pg-keep is left alone
TEMPLATES = 5  # templates per prefix that stay, the last used first
IN_USE = DAY  # since its last use, in which a template stays in any case
SETTLE = 1.0  # seconds in which a run whose connection broke claims its databases again
PATIENCE = 5.0  # for the server to notice that a worker's connection is gone
FORGOTTEN = 30 * DAY  # since its last use, after which a template goes, whosever it is


def in_background(server: Server, template: str, prefix: str) -> threading.Thread | None:
    """Start a sweep if there is anything to sweep, and return its thread.

    What fails there is left to the next run.
    """
    with suppress(PgTemplateError):
        if _is_due(server, template, prefix):
            thread = threading.Thread(
                target=_sweep, args=[server, template, prefix], name="pgtemplate-sweep", daemon=True
            )
            thread.start()
            return thread
    return None


def sweep(server: Server, prefix: str) -> list[str]:
    """Drop the databases that have no owner any more; return their names.

    Those of our own prefix at once; those of others an hour after they were made, as a courtesy to
    projects whose releases of this plugin may differ.
    """
    now = int(time.time())
    old = _old(server.databases(), prefix, now)
    return _drop_all(server, lambda each: each.name in old or _has_ended(each, prefix, now))


def prune(
    server: Server, *, kept: bool, templates: bool, progress: Path | None = None
) -> list[str]:
    """Drop everything of ours that no process owns, whatever its age; return the names."""
    used = {each.mark.fingerprint for each in server.databases() if each.leased and each.mark}

    def goes(database: Database) -> bool:
        mark = database.mark
        if database.leased:
            return False
        if mark is not None and mark.kind == "kept":
            return kept
        if database_names.is_template(database.name):
            return templates and (mark is None or mark.fingerprint not in used)
        return True

    return _drop_all(server, goes, progress)


def after_crash(server: Server, run: str) -> None:
    """Drop what crashed workers of ``run`` left, as soon as the server has noticed their end."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        left = [each for each in server.databases() if _is_of_run(each, run)]
        if not left:
            return
        for database in left:
            if not database.leased:
                _drop(server, database.name)
        time.sleep(0.05)


def touch(server: Server, template: str) -> None:
    """Keep the time of a template's last use, to the hour: each note waits for running clones."""
    found = server.find(template)
    if found and _was_noted_long_ago(found, int(time.time())):
        server.touch(template)


def _sweep(known: Server, template: str, prefix: str) -> None:
    with suppress(PgTemplateError):
        server = Server(known.url, timeout=known.timeout)
        try:
            touch(server, template)
            sweep(server, prefix)
        finally:
            server.close()


def _is_due(server: Server, template: str, prefix: str) -> bool:
    """Whether one look finds anything that is worth a connection."""
    now = int(time.time())
    others = [each for each in server.databases() if not server.holds(each.name)]
    return (
        any(each.name == template and _was_noted_long_ago(each, now) for each in others)
        or bool(_old(others, prefix, now))
        or any(_has_ended(each, prefix, now) for each in others)
    )


def _was_noted_long_ago(template: Database, now: int) -> bool:
    return template.mark is not None and template.mark.used < now - HOUR


def _has_ended(database: Database, prefix: str, now: int) -> bool:
    """A lease is taken before its database exists: without one, its process has ended."""
    mark = database.mark
    if database.leased or (database.sealed and database_names.is_template(database.name)):
        return False
    if spares.is_spare(database):
        return False
    if mark is not None and mark.kind == "kept":
        return mark.created < now - KEPT_FOR
    if database.name.startswith(f"{prefix}_"):
        return True
    return mark is not None and mark.created < now - HOUR


def _old(databases: list[Database], prefix: str, now: int) -> list[str]:
    """Templates that nobody has used for long, and spares that nobody will use."""
    old = _superseded(databases, prefix, now)
    return old + spares.superfluous(each for each in databases if each.name not in old)


def _superseded(databases: Iterable[Database], prefix: str, now: int) -> list[str]:
    templates = sorted(
        ((each.mark.used, each.name) for each in databases if each.mark and each.sealed),
        reverse=True,
    )
    ours = [entry for entry in templates if entry[1].startswith(f"{prefix}_tpl_")]
    old = [name for used, name in ours[TEMPLATES:] if used < now - IN_USE]
    forgotten = [name for used, name in templates if used < now - FORGOTTEN]
    return list(dict.fromkeys(old + forgotten))


def _is_of_run(database: Database, run: str) -> bool:
    kept = database.mark is not None and database.mark.kind == "kept"
    return f"_{run}" in database.name and not kept


def _drop_all(
    server: Server, goes: Callable[[Database], bool], progress: Path | None = None
) -> list[str]:
    """Drop what ``goes`` at two looks: a lease is gone for a moment while its owner reconnects."""
    first = {each.name for each in server.databases() if goes(each)}
    if not first:
        return []
    time.sleep(SETTLE)
    names = [each.name for each in server.databases() if each.name in first and goes(each)]
    return [n for n in progress_file.each(progress, "dropping", names, names) if _drop(server, n)]


def _drop(server: Server, name: str) -> bool:
    with suppress(PgTemplateError):  # another role's, or another sweep was faster
        server.lease(name)  # so that no owner can come back from now on
        try:
            server.drop(name)
            return True
        finally:
            server.release(name)
    return False
