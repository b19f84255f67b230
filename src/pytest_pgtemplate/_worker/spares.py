"""Spares: databases that a reset has brought back exactly, so that nobody need clone again.

A spare bears its template's name in its own, accepts no connections, and belongs to nobody: who
takes one renames it, who gives one back does, too. The mark changes in the same transaction. So a
database is a spare only from the moment when nothing can be wrong with it any more, and whatever a
killed process leaves behind is none.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Literal

from pytest_pgtemplate._reset import Resetter, Seal, state_digest
from pytest_pgtemplate._server import Kind, Mark, Server, ServerDatabase
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import PgTemplateError

MAX_PER_TEMPLATE = 16  # spares: as many workers start without a clone
MAX_SPARES = 64  # on a server, all projects and templates together
MAX_GROWTH = 16 * 2**20  # bytes that a database may be larger than its template; docs/spares.md
SESSION_END_TIMEOUT = 0.2  # seconds for sessions to be gone

GiveBackResult = Literal["spare", "unfit", "differs"]


def take_spare(server: Server, found: Iterable[ServerDatabase], name: str, mark: Mark) -> bool:
    """Make one of the spares that were ``found`` the database ``name``; False when all are gone.

    ``mark`` is the one that it gets, and names the build that it has to be a clone of.
    """
    for spare in found:
        if spare.mark is None or spare.mark.build != mark.build or not server.try_lease(spare.name):
            continue
        with suppress(PgTemplateError):  # somebody else was faster
            try:
                server.rename(spare, name, replace(mark, created=spare.mark.created))
                return True
            finally:
                server.release(spare.name)
    return False


def give_back(server: Server, template: str, name: str, resetter: Resetter) -> GiveBackResult:
    """Make the database ``name`` a spare, if it holds exactly what a new clone would hold.

    "differs": a reset has not brought it back, and the plugin did not notice. ``resetter`` is still
    connected then.
    """
    databases = server.databases()
    found = {each.name: each for each in databases}
    database, origin = found.get(name), found.get(template)
    if not (database and database.mark and origin and origin.mark):
        return "unfit"
    if not _is_below_limits(template, databases):
        return "unfit"
    with server.locked(name):  # a server that has crashed may have lost the reset
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
    """Clone ``template`` ahead of whoever will want it. Raises ServerError."""
    origin = server.find(template)
    if origin is not None and origin.mark is not None:
        with new_clone(server, origin, run):
            pass


@contextmanager
def new_clone(server: Server, template: ServerDatabase, run: str) -> Iterator[str]:
    """The name of a clone to look into, which is a spare afterwards. Raises ServerError."""
    assert template.mark is not None
    name = database_names.spare(template.name)
    mark = clone_mark(server, template.mark, "worker", run)
    with server.locked(name):  # its lease, too
        server.clone(template.name, name, mark)
        yield name
        _publish(server, template.name, server.require_ours(name))


def clone_mark(server: Server, template: Mark, kind: Kind, run: str) -> Mark:
    """The mark of a clone of a template with this mark."""
    return Mark(
        kind,
        run,
        template.fingerprint,
        build=template.run,
        settings=server.with_async_commit(template.settings),
        grants=template.grants,
    )


def list_spares(template: str, databases: Iterable[ServerDatabase]) -> list[ServerDatabase]:
    """The spares of ``template`` that nobody is about to take, the last used first."""
    found = [
        each
        for each in databases
        if is_spare(each) and not each.leased and database_names.template_of(each.name) == template
    ]
    return sorted(found, key=_last_used, reverse=True)


def surplus_spares(databases: Iterable[ServerDatabase]) -> list[str]:
    """Spares whose template has gone or was built anew, and beyond the bounds the oldest."""
    databases = list(databases)
    builds = {each.name: each.mark.run for each in databases if each.mark and each.sealed}
    good: list[ServerDatabase] = []
    bad: list[str] = []
    count = dict.fromkeys(builds, 0)
    for spare in sorted(filter(is_spare, databases), key=_last_used, reverse=True):
        template = database_names.template_of(spare.name) or ""
        assert spare.mark is not None
        if (
            builds.get(template) != spare.mark.build
            or count[template] == MAX_PER_TEMPLATE
            or len(good) == MAX_SPARES
        ):
            bad.append(spare.name)
        else:
            count[template] += 1
            good.append(spare)
    return bad


def is_spare(database: ServerDatabase) -> bool:
    mark = database.mark
    return mark is not None and mark.kind == "spare" and not database.invalid


def _last_used(spare: ServerDatabase) -> int:
    return spare.mark.used if spare.mark else 0


def _publish(server: Server, template: str, database: ServerDatabase) -> None:
    """The last act: from now on it is a spare, and was nothing of the kind before."""
    assert database.mark is not None
    mark = replace(database.mark, kind="spare", used=int(time.time()))
    server.rename(database, database_names.spare(template), mark, disallow=True)


def _is_below_limits(template: str, databases: Collection[ServerDatabase]) -> bool:
    return (
        len(list_spares(template, databases)) < MAX_PER_TEMPLATE
        and sum(map(is_spare, databases)) < MAX_SPARES
    )


def _end_other_sessions(server: Server, name: str, pid: int) -> bool:
    """Whether only ``pid`` is connected: an idle pool goes now, as it would with the database."""
    deadline = time.monotonic() + SESSION_END_TIMEOUT
    while server.count_other_sessions(name, pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def _resets_exactly(resetter: Resetter) -> bool:
    outcome = resetter.reset_all()
    return outcome.reclone_reason is None and not outcome.leaks
