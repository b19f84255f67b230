"""The template: its fingerprint, and how it comes to be exactly once.

A template under its final name is whole by construction: it is built under a scratch name, and the
rename is the last act. So whoever finds the final name clones it, and takes no lock.

What can start from another template does not start from nothing: later revisions from the one that
holds the most of those before them, a seed from the same template without it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from pytest_pgtemplate._server import Mark, Server
from pytest_pgtemplate._template.alembic import Alembic
from pytest_pgtemplate._template.digests import digest_parts
from pytest_pgtemplate._template.lineage import Lineage, LineageReader
from pytest_pgtemplate._template.migrations import Migrations, SqlFiles
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import PgTemplateError, PgTemplateWarning, TemplateError


class Template(NamedTuple):
    """A migrated, sealed database. ``built`` is False when it was already there."""

    name: str
    fingerprint: str
    built: bool


def compute_fingerprint(parts: Iterable[bytes], server: Server) -> str:
    """Hash everything that decides what the template holds."""
    facts = server.facts
    about = (facts.major, facts.locale, facts.role, facts.superuser)
    return digest_parts(chain((str(fact).encode() for fact in about), parts))


def read_lineage(migrations: Migrations, base: Iterable[bytes]) -> Lineage | None:
    """What a schema made by ``migrations`` and ``base`` comes from, if that is known."""
    # Not of their heirs, which may do more.
    if type(migrations) is Alembic or type(migrations) is SqlFiles:
        lineage = migrations.lineage()
        return lineage and lineage._replace(base=(*base, *lineage.base))
    return None


class TemplateRequest(NamedTuple):
    """Which template is wanted, and by which run. ``rebuild``: one that this run has built.

    ``unseeded``: the one without the seed of this one. ``lineage``: of one that has no seed.
    ``saved``: the mark of one that comes out of a file.
    """

    prefix: str
    run: str
    fingerprint: str
    rebuild: bool
    unseeded: TemplateRequest | None = None
    lineage: LineageReader = lambda: None
    saved: Mark | None = None

    @property
    def name(self) -> str:
        return database_names.template(self.prefix, self.fingerprint)


class OriginTemplate(NamedTuple):
    """A template to start from, its mark, and which revisions of the wanted lineage it holds."""

    name: str
    mark: Mark
    applied: frozenset[str] = frozenset()


class ScratchDatabase(NamedTuple):
    """A database in which ``order`` is to be carried out: empty, or a clone of ``origin``."""

    name: str
    order: TemplateRequest
    origin: OriginTemplate | None


Build = Callable[[ScratchDatabase], str | None]


def ensure_template(
    order: TemplateRequest, build: Build, server: Server, lock_directory: Path
) -> Template:
    """Return the template, building it if nobody has: once, however many ask at the same moment.

    ``build`` gets a scratch database, which it migrates or seeds. It may return the seal of its
    state, without which no database of this template becomes a spare.
    Raises TemplateError when another process holds the lock for longer than twice
    ``server.timeout`` seconds, and whatever ``build`` raises.
    """
    built = False
    if not _exists(order, server):
        # A builder may take ``timeout`` for the migrations alone: wait for its end, or its error.
        with _file_lock(lock_directory / f"{order.name}.lock", 2 * server.timeout):
            # Asked before the other lock is: those of this machine pass here one by one.
            if not _exists(order, server):
                with server.locked(order.name):
                    built = not _exists(order, server)
                    if built:
                        _build(order, build, server, lock_directory)
    return Template(order.name, order.fingerprint, built)


def _exists(order: TemplateRequest, server: Server) -> bool:
    found = server.find(order.name)
    if found is None or found.mark is None or not found.sealed or found.invalid:
        return False
    return not order.rebuild or found.mark.run == order.run


def _build(order: TemplateRequest, build: Build, server: Server, lock_directory: Path) -> None:
    lineage = order.lineage()
    origin: OriginTemplate | None = None
    if order.unseeded is not None:
        origin = _unseeded_origin(
            ensure_template(order.unseeded, build, server, lock_directory), server
        )
    elif lineage is not None and not order.rebuild:
        origin = nearest_origin(find_origins(order, lineage, server))
    scratch = database_names.scratch(order.prefix, order.run)
    server.lease(scratch)
    try:
        server.drop(scratch)  # of a worker of this run that was killed while it built
        _create_scratch(scratch, order, origin, server)
        state = build(ScratchDatabase(scratch, order, origin)) or ""
        mark = replace(_template_mark(order, origin, lineage, server), state=state)
        server.publish(scratch, order.name, mark)
    except BaseException:
        with suppress(PgTemplateError):  # a sweep will do it: what went wrong first tells more
            _drop_scratch(scratch, server)
        raise
    _drop_scratch(scratch, server)


def _unseeded_origin(template: Template, server: Server) -> OriginTemplate:
    found = server.find(template.name)
    if found is None or found.mark is None:
        raise TemplateError(
            f'template "{template.name}" is gone from the server',
            hint="run again, which builds it; was it pruned, or the server made anew?",
        )
    return OriginTemplate(found.name, found.mark)


def find_origins(
    order: TemplateRequest, lineage: Lineage, server: Server
) -> Iterator[OriginTemplate]:
    """The templates that hold revisions of ``lineage`` on which the rest is on top."""
    for each in server.databases():
        if (
            each.mark
            and each.sealed
            and each.name.startswith(database_names.template(order.prefix, ""))
        ):
            applied = lineage.including_ancestors(each.mark.heads)
            same = applied and each.mark.lineage == _digest(lineage, applied, server)
            if same and lineage.is_on_top_of(applied):
                yield OriginTemplate(each.name, each.mark, applied)


def nearest_origin(find_origins: Iterable[OriginTemplate]) -> OriginTemplate | None:
    """The one that holds the most."""
    return max(
        find_origins, key=lambda origin: (len(origin.applied), origin.mark.created), default=None
    )


def _digest(lineage: Lineage, applied: Collection[str], server: Server) -> str:
    return compute_fingerprint(lineage.parts(applied), server)


def _create_scratch(
    scratch: str, order: TemplateRequest, origin: OriginTemplate | None, server: Server
) -> None:
    mark = Mark("scratch", order.run, order.fingerprint)
    before = origin.mark if origin else order.saved
    if before is not None:
        mark = replace(mark, settings=before.settings, grants=before.grants)
    if origin is not None:
        server.clone(origin.name, scratch, mark)
    else:
        server.create(scratch, mark, template="template0" if order.saved else "template1")


def _template_mark(
    order: TemplateRequest, origin: OriginTemplate | None, lineage: Lineage | None, server: Server
) -> Mark:
    mark = Mark("template", order.run, order.fingerprint, origin=origin.name if origin else "")
    if order.saved is not None:
        return replace(
            mark, origin=order.saved.origin, heads=order.saved.heads, lineage=order.saved.lineage
        )
    if lineage is None:
        return mark
    digest = _digest(lineage, lineage.revisions, server)
    return replace(mark, heads=lineage.heads, lineage=digest)


def _drop_scratch(scratch: str, server: Server) -> None:
    """Drop what is half-built, or the older build that pytest --pg-rebuild has replaced."""
    server.release(scratch)
    server.drop(scratch)


@contextmanager
def _file_lock(path: Path, timeout: float) -> Iterator[None]:
    """Queue the processes of this machine here, so that they hold no connection while they wait."""
    # Which imports filelock: a run that builds nothing need not wait for that.
    from pytest_pgtemplate._server.file_locks import Timeout, file_lock

    lock = file_lock(path, timeout)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(poll_interval=0.01)  # it may be passed on to many, one after another
    except Timeout:
        raise TemplateError(
            f"waited {timeout:g} s for another process to build template {path.stem}",
            hint="raise pg_timeout, or look for a run that hangs",
        ) from None
    except (OSError, NotImplementedError) as error:  # read-only, or a file system without locks
        warnings.warn(
            PgTemplateWarning(f"no file lock at {path} ({error}): the server's lock has to do"),
            stacklevel=1,
        )
    try:
        yield
    finally:
        lock.release()
