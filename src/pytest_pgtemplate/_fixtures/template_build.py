"""Build the template for the fixture ``pg_template``: its request, and the build function."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_pgtemplate._settings import cache
from pytest_pgtemplate.errors import PgTemplateError, TemplateError

if TYPE_CHECKING:
    from pytest_pgtemplate._run.isolated_database import IsolatedDatabase
    from pytest_pgtemplate._server import Server
    from pytest_pgtemplate._settings import Settings
    from pytest_pgtemplate._template import (
        Lineage,
        Migrations,
        ScratchDatabase,
        Seed,
        Target,
        TemplateRequest,
    )


def revisions_cache() -> Path:
    """The directory for Alembic's answers: which revisions a project has."""
    return cache() / "revisions"


def with_directories(migrations: Migrations, settings: Settings) -> Migrations:
    """Let an ``Alembic`` of the user look for relative paths where the default one does."""
    from pytest_pgtemplate._template import Alembic

    if isinstance(migrations, Alembic) and not migrations.directories:
        migrations = copy(migrations)
        directories = settings.identity.directories
        object.__setattr__(migrations, "directories", directories)  # it is frozen
    return migrations


def template_request(
    settings: Settings, server: Server, migrations: Migrations, seed: Seed | None
) -> TemplateRequest:
    """Compute the fingerprint of everything that determines the template."""
    from pytest_pgtemplate import _template

    base = _plugin_parts(settings)
    base += [path.read_bytes() for path in settings.template.fingerprint_files]
    base += _extension_parts(settings)
    parts = [*base, *migrations.fingerprint()]
    fingerprint = _template.compute_fingerprint(parts, server)

    def lineage() -> Lineage | None:
        timeout = settings.server.timeout
        found = _template.read_lineage(migrations, base, revisions_cache(), timeout)
        now = _template.compute_fingerprint([*base, *migrations.fingerprint()], server)
        return found if now == fingerprint else None  # the files were changed during the build

    request = _template.TemplateRequest(
        prefix=settings.template.prefix,
        run=settings.identity.run,
        fingerprint=fingerprint,
        rebuild=settings.template.rebuild,
        lineage=lineage,
    )
    if seed is None:
        return request
    parts += _template.seed.fingerprint(seed)
    seeded = _template.compute_fingerprint(parts, server)
    return request._replace(fingerprint=seeded, lineage=lambda: None, unseeded=request)


def migration_target(
    database: IsolatedDatabase, server: Server, name: str, applied: frozenset[str] = frozenset()
) -> Target:
    """Return the target for ``Migrations.migrate`` in the database ``name``."""
    from pytest_pgtemplate import _template, _urls
    from pytest_pgtemplate._urls import server_address

    settings, environment = database.settings, database.run.environment
    url = server.url.set(database=name)
    address = server_address.parse(_urls.render(url))
    env = environment.for_migrations(database.name, address)
    return _template.Target(
        url,
        settings.server.timeout,
        env,
        applied,
        database.run.progress.file,
        revisions_cache=revisions_cache(),
        bindir=settings.server.bindir,
    )


def build_template(
    database: IsolatedDatabase,
    server: Server,
    migrations: Migrations,
    seed: Seed | None,
    scratch: ScratchDatabase,
) -> str:
    """Migrate or seed a scratch database, and install what resets need.

    Returns the seal of its state. A failure is recorded, so that the other workers of this run do
    not repeat it: a build in another environment may succeed.
    """
    from pytest_pgtemplate import _template
    from pytest_pgtemplate._reset import drop_damaged_template, install, uninstall

    settings, stats, request = database.settings, database.stats, scratch.request
    failures, progress = database.run.reports.failures, database.run.progress
    attempt = f"{request.name}-{database.run.environment.digest()}"
    failures.raise_if_build_failed(attempt)
    applied = scratch.origin.applied if scratch.origin else frozenset()
    target = migration_target(database, server, scratch.name, applied)
    url, known = target.url, cache() / "templates"
    parts = _build_parts(settings, server, migrations, seed if request.unseeded else None)
    reason = (
        "--pg-rebuild" if request.rebuild else _template.explain_build(known, request.name, parts)
    )
    stats.why = stats.why or reason
    try:
        if scratch.origin is not None:
            tracking, state = settings.template.tracking, scratch.origin.mark.state
            if not uninstall(url, tracking, state, timeout=settings.server.timeout):
                drop_damaged_template(server, scratch.origin.name)
        if request.unseeded is None:
            progress.begin_part("migrating")
            ran = _template.migrate(migrations, target)
            stats.built = f"migrated {ran}" if ran else "migrated"
        elif seed is not None:
            progress.begin_part("seeding")
            _template.seed.run(seed, target)
            stats.built = stats.built or "seeded"
        _refuse_changed_files(settings, server, migrations, seed, request)
        progress.begin_part("making the template resettable")
        state = install(url, settings.template.tracking, timeout=settings.server.timeout)
        _template.save_parts(known, request.name, parts)
        return state
    except PgTemplateError as error:
        failures.record_failed_build(attempt, error)
        raise


def _refuse_changed_files(
    settings: Settings,
    server: Server,
    migrations: Migrations,
    seed: Seed | None,
    request: TemplateRequest,
) -> None:
    """Raise TemplateError if the fingerprint is no longer that of ``request``.

    The build may have read the new files, such as those of another branch.
    """
    now = template_request(settings, server, migrations, seed if request.unseeded else None)
    if now.fingerprint != request.fingerprint:
        raise TemplateError(
            f'files that determine template "{request.name}" were changed while it was built',
            hint="run again; fingerprint() of a class of your own returns the same bytes each time",
        )


def _plugin_parts(settings: Settings) -> list[bytes]:
    """Return the part of the fingerprint that changes with what the plugin itself installs."""
    from pytest_pgtemplate._reset import installed_sql

    return [settings.template.tracking.encode(), installed_sql()]


def _extension_parts(settings: Settings) -> list[bytes]:
    """Return the part for extensions that the embedded server has beside those of its binaries."""
    if settings.url is not None:
        return []
    from pytest_pgtemplate import _embedded

    bindir, version, _ = settings.server.embedded
    return [_embedded.extensions_fingerprint(bindir, version)]


def _build_parts(
    settings: Settings, server: Server, migrations: Migrations, seed: Seed | None
) -> dict[str, str]:
    """Return the digests of all parts of the fingerprint, to explain the next build."""
    from pytest_pgtemplate import _template

    others: dict[str, Iterable[bytes]] = {
        "the server": [server.facts.for_schema],
        "extensions of the embedded server": _extension_parts(settings),
        "pytest-pgtemplate": _plugin_parts(settings),
        "pg_revision": [settings.template.revision.encode()],
    }
    if seed is not None:
        others["pg_seed"] = _template.seed.fingerprint(seed)
    return _template.digest_by_name(
        migrations, settings.template.fingerprint_files, settings.identity.root, others
    )
