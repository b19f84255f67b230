"""Spares: databases that a reset has brought back exactly, so that nobody need clone again.

A spare bears its template's name in its own, accepts no connections, and belongs to nobody: who
takes one renames it, who gives one back does, too. The mark changes in the same transaction. So a
database is a spare only from the moment when nothing can be wrong with it any more, and whatever a
killed process leaves behind is none.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from pytest_pgtemplate import _names
from pytest_pgtemplate._reset import Resetter
from pytest_pgtemplate._server import Database, Mark, Server
from pytest_pgtemplate.errors import PgTemplateError

PER_TEMPLATE = 16  # spares: as many workers start without a clone
IN_ALL = 64  # on a server, all projects and templates together
ROOM = 16 * 2**20  # bytes that a database may be larger than its template; docs/spares.md
LEAVING = 0.2  # seconds for sessions that have just been closed to be gone


def take(server: Server, template: str, name: str, mark: Mark) -> bool:
    """Make a spare of ``template`` the database ``name``; False when there is none to be had.

    ``mark`` is the one that it gets, and names the build that it has to be a clone of.
    """
    for spare in of(template, server.databases()):
        if spare.mark is None or spare.mark.build != mark.build or not server.try_lease(spare.name):
            continue
        with suppress(PgTemplateError):  # somebody else was faster
            try:
                server.rename(spare.name, name, replace(mark, created=spare.mark.created))
                return True
            finally:
                server.release(spare.name)
    return False


def give_back(server: Server, template: str, name: str, resetter: Resetter) -> bool:
    """Make the database ``name`` a spare, if it is beyond doubt what a new clone would be.

    False: it is not, and fit for nothing any more.
    """
    found = server.find(name)
    if found is None or found.mark is None or not _is_wanted(server, template):
        return False
    server.shut(name)
    if not (
        _is_alone(server, name)
        and server.is_as_cloned(name, template, found.mark, room=ROOM)
        and _is_exact(resetter)
    ):
        return False
    resetter.close()
    spare = _names.spare(template)
    server.lease(spare)
    try:
        mark = replace(found.mark, kind="spare", used=int(time.time()))
        server.rename(name, spare, mark, shut=True)
    finally:
        server.release(spare)
    return True


def of(template: str, databases: Iterable[Database]) -> list[Database]:
    """The spares of ``template`` that nobody is about to take, the last used first."""
    found = [
        each
        for each in databases
        if is_spare(each) and not each.leased and _names.template_of(each.name) == template
    ]
    return sorted(found, key=_used, reverse=True)


def superfluous(databases: Iterable[Database]) -> list[str]:
    """Spares whose template has gone or was built anew, and beyond the bounds the oldest."""
    databases = list(databases)
    builds = {each.name: each.mark.run for each in databases if each.mark and each.sealed}
    good: list[Database] = []
    bad: list[str] = []
    count = dict.fromkeys(builds, 0)
    for spare in sorted(filter(is_spare, databases), key=_used, reverse=True):
        template = _names.template_of(spare.name) or ""
        assert spare.mark is not None
        if (
            builds.get(template) != spare.mark.build
            or count[template] == PER_TEMPLATE
            or len(good) == IN_ALL
        ):
            bad.append(spare.name)
        else:
            count[template] += 1
            good.append(spare)
    return bad


def is_spare(database: Database) -> bool:
    mark = database.mark
    return mark is not None and mark.kind == "spare" and not database.invalid


def _used(spare: Database) -> int:
    return spare.mark.used if spare.mark else 0


def _is_wanted(server: Server, template: str) -> bool:
    databases = server.databases()
    return (
        any(each.name == template for each in databases)
        and len(of(template, databases)) < PER_TEMPLATE
        and sum(map(is_spare, databases)) < IN_ALL
    )


def _is_alone(server: Server, name: str) -> bool:
    """Whether the resetter's session is the only one."""
    deadline = time.monotonic() + LEAVING
    while server.sessions(name) > 1:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def _is_exact(resetter: Resetter) -> bool:
    outcome = resetter.reset_all()
    return outcome.stale is None and not outcome.leaks
