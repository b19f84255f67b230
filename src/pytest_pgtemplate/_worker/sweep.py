"""Drop databases that ended runs left behind, old templates and surplus spares.

One worker of a run sweeps its server, in a thread with its own connection, while the tests run. Any
number of runs and hosts may sweep at the same time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pytest_pgtemplate._display import progress_file
from pytest_pgtemplate._server import Server, ServerDatabase, clocks
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import spares
from pytest_pgtemplate.errors import PgTemplateError

HOUR = 3600
DAY = 24 * HOUR
KEPT_DATABASE_AGE = 7 * DAY  # seconds after which a database kept by --pg-keep is dropped
TEMPLATES_PER_PREFIX = 5  # the most recently used templates of a prefix are kept
RECENT_USE = DAY  # a template used within this time is kept in any case
RECONNECT_TIME = 1.0  # seconds in which a run takes its leases again after a lost connection
RECONNECT_CHECKS = 5  # how often a sweep looks in this time whether the lease is taken
LEASE_END_TIMEOUT = 5.0  # seconds for the server to notice the end of a worker's connection
UNUSED_TEMPLATE_AGE = 30 * DAY  # a template unused for longer is dropped


def start_sweep(server: Server, template: str, prefix: str) -> threading.Thread | None:
    """Start a sweep if there is anything to drop, and return its thread.

    Errors are ignored: the next run sweeps again.
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

    Databases with another prefix are dropped only an hour after their creation, because that
    project may use another release of the plugin.
    """

    def choose(databases: list[ServerDatabase]) -> set[str]:
        abandoned = (db.name for db in databases if _is_abandoned(db, prefix))
        return {*_outdated(databases, prefix), *abandoned}

    return _drop_all(server, choose).dropped


class PruneResult(NamedTuple):
    """The names of the dropped databases, and why others could not be dropped."""

    dropped: list[str]
    refused: dict[str, PgTemplateError]


def prune(
    server: Server, *, kept: bool, templates: bool, progress: Path | None = None
) -> PruneResult:
    """Drop every database of the plugin that has no owner, regardless of its age."""

    def choose(databases: list[ServerDatabase]) -> set[str]:
        running = {database_names.project_of(db.name) for db in databases if db.leased}
        return {db.name for db in databases if is_droppable(db, running)}

    def is_droppable(database: ServerDatabase, running: set[str | None]) -> bool:
        mark = database.mark
        if database.leased:
            return False
        if mark is not None and mark.kind == "kept":
            return kept
        if database_names.is_template(database.name):
            # A worker of a running project may clone its template again.
            return templates and database_names.project_of(database.name) not in running
        return True

    return _drop_all(server, choose, progress)


def drop_crashed(server: Server, run: str) -> None:
    """Drop the databases of crashed workers of ``run``, when the server has freed their leases."""
    deadline = clocks.monotonic() + LEASE_END_TIMEOUT
    while clocks.monotonic() < deadline:
        remaining = [db for db in server.databases() if _belongs_to_run(db, run)]
        if not remaining:
            return
        for database in remaining:
            if not database.leased:
                _drop(server, database.name)
        time.sleep(0.05)


def record_template_use(server: Server, template: str) -> None:
    """Update the time of last use in a template's mark, at most once an hour."""
    # COMMENT ON DATABASE waits for running clones of the template.
    found = server.find(template)
    if found and _needs_use_recorded(found):
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
    """Whether there is anything to do that is worth a thread and a connection."""
    others = [db for db in server.databases() if not server.holds_lease(db.name)]
    return (
        any(db.name == template and _needs_use_recorded(db) for db in others)
        or bool(_outdated(others, prefix))
        or any(_is_abandoned(db, prefix) for db in others)
    )


def _needs_use_recorded(template: ServerDatabase) -> bool:
    """Whether its last use was recorded more than an hour ago, or by a clock that was ahead."""
    return template.mark is not None and abs(template.unused) > HOUR


def _is_abandoned(database: ServerDatabase, prefix: str) -> bool:
    """Whether the owner of a database has ended.

    A process takes the lease before it creates the database, so without a lease there is no owner.
    """
    mark = database.mark
    if database.leased or (database.sealed and database_names.is_template(database.name)):
        return False
    if spares.is_spare(database):
        return False
    if mark is not None and mark.kind == "kept":
        return database.age > KEPT_DATABASE_AGE
    if database.name.startswith(f"{prefix}_"):
        return True
    return mark is not None and database.age > HOUR


def _outdated(databases: list[ServerDatabase], prefix: str) -> list[str]:
    """Return the templates that were unused for long, and the surplus spares."""
    old = _old_templates(databases, prefix)
    return old + spares.surplus_spares(db for db in databases if db.name not in old)


def _old_templates(databases: Iterable[ServerDatabase], prefix: str) -> list[str]:
    templates = [(db.unused, db.name) for db in databases if db.mark and db.sealed]
    templates.sort()
    ours = [entry for entry in templates if entry[1].startswith(f"{prefix}_tpl_")]
    superseded = [name for unused, name in ours[TEMPLATES_PER_PREFIX:] if unused > RECENT_USE]
    forgotten = [name for unused, name in templates if unused > UNUSED_TEMPLATE_AGE]
    return list(dict.fromkeys(superseded + forgotten))


def _belongs_to_run(database: ServerDatabase, run: str) -> bool:
    kept = database.mark is not None and database.mark.kind == "kept"
    return f"_{run}" in database.name and not kept


def _drop_all(
    server: Server,
    choose: Callable[[list[ServerDatabase]], set[str]],
    progress: Path | None = None,
) -> PruneResult:
    """Drop the databases that ``choose`` returns again and again, and just before."""
    # A lease is free for an instant while its owner reconnects.
    candidates = choose(server.databases())
    for _ in range(RECONNECT_CHECKS):
        if not candidates:
            return PruneResult([], {})
        time.sleep(RECONNECT_TIME / RECONNECT_CHECKS)
        candidates &= choose(server.databases())
    names = sorted(candidates)
    reported = progress_file.report_progress(progress, "dropping", names, names)
    errors = {name: _drop(server, name) for name in reported if name in choose(server.databases())}
    return PruneResult(
        dropped=[name for name, error in errors.items() if error is None],
        refused={name: error for name, error in errors.items() if error is not None},
    )


def _drop(server: Server, name: str) -> PgTemplateError | None:
    """Return the error if the database is in use again, or if this role may not drop it."""
    try:
        server.lease(name)  # from now on, no owner can reconnect and take it again
        try:
            server.drop(name)
        finally:
            server.release(name)
    except PgTemplateError as error:
        return error
    return None
