"""Spares: databases equal to a new clone of their template, kept for later workers.

The name of a spare contains the fingerprint of its template, and it allows no connections. Taking a
spare and giving one back is a rename, which changes the mark in the same transaction. So a process
that is killed before the rename leaves no spare, and a database is a spare only after all checks.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Literal

from pytest_pgtemplate._reset import Resetter, Seal, state_digest
from pytest_pgtemplate._server import Kind, Mark, Server, ServerDatabase, clocks
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import PgTemplateError

MAX_PER_TEMPLATE = 16  # as many workers can start without a clone
MAX_SPARES = 64  # per server, of all projects and templates
MAX_GROWTH = 16 * 2**20  # bytes that a spare may be larger than its template; docs/spares.md
SESSION_END_TIMEOUT = 0.2  # seconds for terminated sessions to end

GiveBackResult = Literal["spare", "unfit", "differs"]


def take_spare(server: Server, found: Iterable[ServerDatabase], name: str, mark: Mark) -> bool:
    """Rename one of the spares ``found`` to ``name``. Returns False if none is available.

    ``mark``: the new mark; its ``build`` is the build of the template that the spare must have.
    """
    for spare in found:
        if spare.mark is None or spare.mark.build != mark.build or not server.try_lease(spare.name):
            continue
        with suppress(PgTemplateError):  # another process has taken it
            try:
                server.rename(spare, name, mark)
                return True
            finally:
                server.release(spare.name)
    return False


def give_back(server: Server, template: str, name: str, resetter: Resetter) -> GiveBackResult:
    """Make the database ``name`` a spare if its content equals that of a new clone.

    "unfit": it cannot become a spare. "differs": a reset did not restore it, and the plugin did not
    notice; then ``resetter`` is still connected.
    """
    if resetter.uncovered:  # neither the reset nor the digest contains what was written there
        return "unfit"
    databases = server.databases()
    found = {each.name: each for each in databases}
    database, origin = found.get(name), found.get(template)
    if not (database and database.mark and origin and origin.mark):
        return "unfit"
    if database.mark.build != origin.mark.run:  # another run has built the template again
        return "unfit"
    if not _is_below_limits(template, databases):
        return "unfit"
    # Within locked(), a lost connection raises: a crashed server may have lost the reset.
    with server.locked(name):
        server.disallow_connections(database)
        if not (
            _end_other_sessions(server, name, resetter.pid)
            and server.is_like_new_clone(
                name, template, database.mark, at_most=origin.mark.size + MAX_GROWTH
            )
            and _resets_exactly(resetter)
        ):
            return "unfit"
        seal = Seal.parse(origin.mark.state)
        if state_digest(resetter.read_state(seal.boundary)) != seal.digest:
            return "differs"
        resetter.close()
        _publish(server, template, database)
    return "spare"


def add_spare(server: Server, template: str, run: str) -> None:
    """Clone ``template`` as a spare. Raises ServerError."""
    origin = server.find(template)
    if origin is not None and origin.mark is not None:
        with new_clone(server, origin, run):
            pass


@contextmanager
def new_clone(server: Server, template: ServerDatabase, run: str) -> Iterator[str]:
    """Yield the name of a new clone, which becomes a spare afterwards. Raises ServerError."""
    assert template.mark is not None
    name = database_names.spare(template.name)
    mark = clone_mark(server, template.mark, "worker", run)
    with server.locked(name):  # the same advisory lock as a lease, so no sweep drops the clone
        server.clone(template.name, name, mark)
        yield name
        _publish(server, template.name, server.require_ours(name))


def clone_mark(server: Server, template: Mark, kind: Kind, run: str) -> Mark:
    """Return the mark for a clone of a template with this mark."""
    mark = Mark(kind, run, template.fingerprint, build=template.run).with_properties_of(template)
    return replace(mark, settings=server.with_async_commit(template.settings))


def list_spares(template: str, databases: Iterable[ServerDatabase]) -> list[ServerDatabase]:
    """Return the available spares of ``template``, the most recently used first."""
    available = (db for db in databases if is_spare(db) and not db.leased)
    found = [db for db in available if database_names.template_of(db.name) == template]
    return sorted(found, key=_last_used, reverse=True)


def surplus_spares(databases: Iterable[ServerDatabase]) -> list[str]:
    """Return the spares of removed or rebuilt templates, and the oldest above the limits."""
    databases = list(databases)
    builds = {db.name: db.mark.run for db in databases if db.mark and db.sealed}
    surplus: list[str] = []
    count = dict.fromkeys(builds, 0)
    for spare in sorted(filter(is_spare, databases), key=_last_used, reverse=True):
        template = database_names.template_of(spare.name) or ""
        assert spare.mark is not None
        if (
            builds.get(template) != spare.mark.build
            or count[template] == MAX_PER_TEMPLATE
            or sum(count.values()) == MAX_SPARES
        ):
            surplus.append(spare.name)
        else:
            count[template] += 1
    return surplus


def is_spare(database: ServerDatabase) -> bool:
    mark = database.mark
    return mark is not None and mark.kind == "spare" and not database.invalid


def _last_used(spare: ServerDatabase) -> int:
    return spare.mark.used if spare.mark else 0


def _publish(server: Server, template: str, database: ServerDatabase) -> None:
    """Rename the database to the name of a spare. This is the last step."""
    assert database.mark is not None
    mark = replace(database.mark, kind="spare", used=0)
    server.rename(database, database_names.spare(template), mark, disallow=True)


def _is_below_limits(template: str, databases: Collection[ServerDatabase]) -> bool:
    return (
        len(list_spares(template, databases)) < MAX_PER_TEMPLATE
        and sum(map(is_spare, databases)) < MAX_SPARES
    )


def _end_other_sessions(server: Server, name: str, pid: int) -> bool:
    """End idle sessions, and return whether only ``pid`` is still connected."""
    deadline = clocks.monotonic() + SESSION_END_TIMEOUT
    while server.end_idle_sessions(name, pid):
        if clocks.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def _resets_exactly(resetter: Resetter) -> bool:
    outcome = resetter.reset_all()
    return outcome.reclone_reason is None and not outcome.leaks
