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
from pytest_pgtemplate._server import Server, ServerDatabase
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import spares
from pytest_pgtemplate.errors import PgTemplateError

HOUR = 3600
DAY = 24 * HOUR
KEPT_DATABASE_AGE = 7 * DAY  # that a database put aside by --pg-keep is left alone
TEMPLATES_PER_PREFIX = 5  # templates per prefix that stay, the last used first
RECENT_USE = DAY  # since its last use, in which a template stays in any case
RECONNECT_TIME = 1.0  # seconds in which a run whose connection broke claims its databases again
LEASE_END_TIMEOUT = 5.0  # for the server to notice that a worker's connection is gone
UNUSED_TEMPLATE_AGE = 30 * DAY  # since its last use, after which any template is dropped


def start_sweep(server: Server, template: str, prefix: str) -> threading.Thread | None:
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
    old = _outdated(server.databases(), prefix, now)
    return _drop_all(server, lambda each: each.name in old or _is_abandoned(each, prefix, now))


def prune(
    server: Server, *, kept: bool, templates: bool, progress: Path | None = None
) -> list[str]:
    """Drop everything of ours that no process owns, whatever its age; return the names."""
    used = {each.mark.fingerprint for each in server.databases() if each.leased and each.mark}

    def is_droppable(database: ServerDatabase) -> bool:
        mark = database.mark
        if database.leased:
            return False
        if mark is not None and mark.kind == "kept":
            return kept
        if database_names.is_template(database.name):
            return templates and (mark is None or mark.fingerprint not in used)
        return True

    return _drop_all(server, is_droppable, progress)


def drop_crashed(server: Server, run: str) -> None:
    """Drop what crashed workers of ``run`` left, as soon as the server has noticed their end."""
    deadline = time.monotonic() + LEASE_END_TIMEOUT
    while time.monotonic() < deadline:
        left = [each for each in server.databases() if _is_of_run(each, run)]
        if not left:
            return
        for database in left:
            if not database.leased:
                _drop(server, database.name)
        time.sleep(0.05)


def record_template_use(server: Server, template: str) -> None:
    """Keep the time of a template's last use, to the hour: each note waits for running clones."""
    found = server.find(template)
    if found and _needs_use_recorded(found, int(time.time())):
        server.record_use(template)


def _sweep(known: Server, template: str, prefix: str) -> None:
    with suppress(PgTemplateError):
        server = Server(known.url, timeout=known.timeout)
        try:
            record_template_use(server, template)
            sweep(server, prefix)
        finally:
            server.close()


def _is_due(server: Server, template: str, prefix: str) -> bool:
    """Whether one look finds anything that is worth a connection."""
    now = int(time.time())
    others = [each for each in server.databases() if not server.holds_lease(each.name)]
    return (
        any(each.name == template and _needs_use_recorded(each, now) for each in others)
        or bool(_outdated(others, prefix, now))
        or any(_is_abandoned(each, prefix, now) for each in others)
    )


def _needs_use_recorded(template: ServerDatabase, now: int) -> bool:
    return template.mark is not None and template.mark.used < now - HOUR


def _is_abandoned(database: ServerDatabase, prefix: str, now: int) -> bool:
    """A lease is taken before its database exists: without one, its process has ended."""
    mark = database.mark
    if database.leased or (database.sealed and database_names.is_template(database.name)):
        return False
    if spares.is_spare(database):
        return False
    if mark is not None and mark.kind == "kept":
        return mark.created < now - KEPT_DATABASE_AGE
    if database.name.startswith(f"{prefix}_"):
        return True
    return mark is not None and mark.created < now - HOUR


def _outdated(databases: list[ServerDatabase], prefix: str, now: int) -> list[str]:
    """Templates that nobody has used for long, and spares that nobody will use."""
    old = _superseded(databases, prefix, now)
    return old + spares.surplus_spares(each for each in databases if each.name not in old)


def _superseded(databases: Iterable[ServerDatabase], prefix: str, now: int) -> list[str]:
    templates = sorted(
        ((each.mark.used, each.name) for each in databases if each.mark and each.sealed),
        reverse=True,
    )
    ours = [entry for entry in templates if entry[1].startswith(f"{prefix}_tpl_")]
    old = [name for used, name in ours[TEMPLATES_PER_PREFIX:] if used < now - RECENT_USE]
    forgotten = [name for used, name in templates if used < now - UNUSED_TEMPLATE_AGE]
    return list(dict.fromkeys(old + forgotten))


def _is_of_run(database: ServerDatabase, run: str) -> bool:
    kept = database.mark is not None and database.mark.kind == "kept"
    return f"_{run}" in database.name and not kept


def _drop_all(
    server: Server, is_droppable: Callable[[ServerDatabase], bool], progress: Path | None = None
) -> list[str]:
    """Drop what ``is_droppable`` twice, for a lease is free while its owner reconnects."""
    first = {each.name for each in server.databases() if is_droppable(each)}
    if not first:
        return []
    time.sleep(RECONNECT_TIME)
    names = [each.name for each in server.databases() if each.name in first and is_droppable(each)]
    return [
        n
        for n in progress_file.report_progress(progress, "dropping", names, names)
        if _drop(server, n)
    ]


def _drop(server: Server, name: str) -> bool:
    with suppress(PgTemplateError):  # another role's, or another sweep was faster
        server.lease(name)  # so that no owner can come back from now on
        try:
            server.drop(name)
            return True
        finally:
            server.release(name)
    return False
