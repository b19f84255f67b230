"""Build a template exactly once per fingerprint, and publish it.

A template is built under a scratch name, and the rename to its final name is the last step. So a
database under the final name is complete, and a worker that finds it clones it without a lock.

A build starts from another template if possible: from the one that holds most of the revisions, or,
for a seed, from the same template without the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pytest_pgtemplate._server import Mark, Server
from pytest_pgtemplate._template.alembic import Alembic
from pytest_pgtemplate._template.digests import digest_parts
from pytest_pgtemplate._template.lineage import Lineage, LineageReader
from pytest_pgtemplate._template.migrations import Migrations, SqlFiles
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import PgTemplateError, TemplateError, warn


class Template(NamedTuple):
    """A migrated, sealed database. ``built``: whether this process built it."""

    name: str
    fingerprint: str
    built: bool


def compute_fingerprint(parts: Iterable[bytes], server: Server) -> str:
    """Hash everything that determines the content of the template."""
    return digest_parts((server.facts.for_schema, *parts))


def read_lineage(
    migrations: Migrations, base: Iterable[bytes], cache: Path, timeout: float
) -> Lineage | None:
    """Return the lineage of the schema that ``migrations`` and ``base`` determine, if known.

    ``cache``: the directory for Alembic's lists of revisions.
    """
    lineage = None
    # Not isinstance: a subclass may do more than its lineage shows.
    if type(migrations) is Alembic:
        lineage = migrations.lineage(cache, timeout)
    elif type(migrations) is SqlFiles:
        lineage = migrations.lineage()
    return lineage and lineage._replace(base=(*base, *lineage.base))


class TemplateRequest(NamedTuple):
    """Which template a run needs. ``rebuild``: use only a template that this run has built.

    ``unseeded``: the request for the same template without the seed. ``lineage``: of a template
    without a seed. ``saved``: the mark of a template that is loaded from a file.
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
    """The template from which a build starts, and the revisions of the lineage that it holds."""

    name: str
    mark: Mark
    applied: frozenset[str] = frozenset()


class ScratchDatabase(NamedTuple):
    """The database in which a template is built: empty, or a clone of ``origin``."""

    name: str
    request: TemplateRequest
    origin: OriginTemplate | None


Build = Callable[[ScratchDatabase], str | None]


def ensure_template(
    request: TemplateRequest, build: Build, server: Server, lock_directory: Path
) -> Template:
    """Return the template; build it if it does not exist.

    ``build`` migrates or seeds a scratch database. It may return the seal of its state, without
    which no database of this template becomes a spare. If several processes ask at the same time,
    one builds and the others wait. Raises TemplateError if another process holds the lock for
    longer than twice ``server.timeout`` seconds, and every error of ``build``.
    """
    built = False
    if not _exists(request, server):
        # Twice, because a builder may use the whole timeout for the migrations alone.
        with _file_lock(lock_directory / f"{request.name}.lock", 2 * server.timeout):
            # Check again: the previous holder of the file lock may have built it. The advisory lock
            # excludes other hosts that use this server, so check once more after taking it.
            if not _exists(request, server):
                with server.locked(request.name):
                    built = not _exists(request, server)
                    if built:
                        _build(request, build, server, lock_directory)
    return Template(request.name, request.fingerprint, built)


def _exists(request: TemplateRequest, server: Server) -> bool:
    found = server.find(request.name)
    if found is None or found.mark is None or not found.sealed or found.invalid:
        return False
    return not request.rebuild or found.mark.run == request.run


def _build(request: TemplateRequest, build: Build, server: Server, lock_directory: Path) -> None:
    origin: OriginTemplate | None = None
    if request.unseeded is not None:
        origin = _unseeded_origin(
            ensure_template(request.unseeded, build, server, lock_directory), server
        )
    elif not request.rebuild:
        origin = nearest_origin(find_origins(request, server))
    scratch = database_names.scratch(request.prefix, request.run)
    server.lease(scratch)
    try:
        server.drop(scratch)  # left by a worker of this run that was killed during its build
        _create_scratch(scratch, request, origin, server)
        state = build(ScratchDatabase(scratch, request, origin)) or ""
        # Only now: if there was no template to start from, the build has listed the revisions.
        lineage = request.lineage()
        mark = replace(_template_mark(request, origin, lineage, server), state=state)
        server.publish(scratch, request.name, mark)
    except BaseException:
        with suppress(PgTemplateError):  # report the first error; a sweep drops the scratch
            _drop_scratch(scratch, server)
        raise
    _drop_scratch(scratch, server)


def _unseeded_origin(template: Template, server: Server) -> OriginTemplate:
    found = server.find(template.name)
    if found is None or found.mark is None:
        raise TemplateError(
            f'template "{template.name}" was removed from the server during this run',
            hint="run again to build it; another process may have pruned it",
        )
    return OriginTemplate(found.name, found.mark)


def find_origins(request: TemplateRequest, server: Server) -> Iterator[OriginTemplate]:
    """Yield the templates to which the remaining revisions of the request can be applied."""
    prefix = database_names.template(request.prefix, "")
    templates = [
        each
        for each in server.databases()
        if each.mark and each.mark.heads and each.sealed and each.name.startswith(prefix)
    ]
    lineage = request.lineage() if templates else None
    for database in templates if lineage else ():
        if database.mark and lineage:
            applied = lineage.including_ancestors(database.mark.heads)
            same = applied and database.mark.lineage == _digest(lineage, applied, server)
            if same and lineage.is_on_top_of(applied):
                yield OriginTemplate(database.name, database.mark, applied)


def nearest_origin(origins: Iterable[OriginTemplate]) -> OriginTemplate | None:
    """Return the template that holds the most revisions, or the newest of these."""
    return max(origins, key=lambda origin: (len(origin.applied), origin.mark.created), default=None)


def _digest(lineage: Lineage, applied: Collection[str], server: Server) -> str:
    return compute_fingerprint(lineage.parts(applied), server)


def _create_scratch(
    scratch: str, request: TemplateRequest, origin: OriginTemplate | None, server: Server
) -> None:
    mark = Mark("scratch", request.run, request.fingerprint)
    before = origin.mark if origin else request.saved
    if before is not None:
        mark = mark.with_properties_of(before)
    if origin is not None:
        server.clone(origin.name, scratch, mark)
    else:
        server.create(scratch, mark, template="template0" if request.saved else "template1")


def _template_mark(
    request: TemplateRequest, origin: OriginTemplate | None, lineage: Lineage | None, server: Server
) -> Mark:
    mark = Mark("template", request.run, request.fingerprint, origin=origin.name if origin else "")
    if request.saved is not None:
        return replace(
            mark,
            origin=request.saved.origin,
            heads=request.saved.heads,
            lineage=request.saved.lineage,
        )
    if lineage is None:
        return mark
    digest = _digest(lineage, lineage.revisions, server)
    return replace(mark, heads=lineage.heads, lineage=digest)


def _drop_scratch(scratch: str, server: Server) -> None:
    """Drop an incomplete build, or the old template that ``--pg-rebuild`` has replaced."""
    server.release(scratch)
    server.drop(scratch)


@contextmanager
def _file_lock(path: Path, timeout: float) -> Iterator[None]:
    """Let the processes of this host wait without a connection to the server."""
    # Imported here, because a run with a warm cache needs no filelock.
    from pytest_pgtemplate._server.file_locks import Timeout, acquire, file_lock

    lock = file_lock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A short interval: many workers may take it one after another.
        acquire(lock, timeout=timeout, poll_interval=0.01)
    except Timeout:
        raise TemplateError(
            f"waited {timeout:g} s for another process to build template {path.stem}",
            hint="raise pg_timeout, or check whether another run hangs",
        ) from None
    except (OSError, NotImplementedError) as error:  # read-only, or a file system without locks
        warn(f"no file lock at {path} ({error}): only the server's lock is used")
    try:
        yield
    finally:
        lock.release()
