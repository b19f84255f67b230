"""The steps from the server to this worker's database, as functions.

The fixtures call them, or ``preparation`` does so in a thread while pytest collects. This module
imports what the steps use: a run without database tests does not import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from pytest_pgtemplate import _embedded, _template, _urls
from pytest_pgtemplate._display import progress_file
from pytest_pgtemplate._fixtures.template_build import (
    build_template,
    template_request,
    with_directories,
)
from pytest_pgtemplate._internals import clocks
from pytest_pgtemplate._reset import describe
from pytest_pgtemplate._run.isolated_database import IsolatedDatabase
from pytest_pgtemplate._run.resources import Resource
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._settings import cache
from pytest_pgtemplate._template import Alembic, Migrations, Seed, Template
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import WorkerDatabase, WorkerOptions, sweep
from pytest_pgtemplate.errors import ConfigurationError, PgTemplateError

SWEEP_TIMEOUT = 5.0  # seconds to wait for the sweep at the end; the next run sweeps the rest


def start_server(database: IsolatedDatabase) -> Resource[Server]:
    """Connect to the server; start or join the embedded one.

    Raises EmbeddedServerError, ConfigurationError and ServerError.
    """
    settings, run, stats = database.settings, database.run, database.stats
    database.prepared.begin_attempt("server", run.environment.digest())
    with ExitStack() as stack:
        url = _urls.parse(settings.url) if settings.url else None
        if url is None:
            settings.refuse_other_host()
            with run.progress.timed_step("server", "starting the embedded server"):
                handle = _embedded.acquire(
                    *settings.server.embedded, timeout=settings.server.timeout
                )
            stack.callback(handle.close)
            run.urls.append(handle.url)
            url = _urls.for_driver(_urls.parse(handle.url), settings.server.driver)
        server = Server(url, timeout=settings.server.timeout)
        stack.callback(server.close)
        stats.server, stats.room = str(server), server.facts.workers
        stats.is_tested = server.facts.is_tested
        stats.allowed = server.facts.max_connections
        return Resource(server, stack.pop_all().close)


def default_migrations(database: IsolatedDatabase) -> Migrations:
    """Return the Alembic environment of the settings. Raises ConfigurationError without one."""
    settings = database.settings
    config = settings.template.alembic_config
    if config is None:
        raise ConfigurationError(
            f'no migrations are configured for the database "{database.name}"',
            hint=f"set pg_alembic_ini_{database.name} to its alembic.ini, or override the fixture"
            f' {database.fixture_name("pg_migrations")} (scope="session") in a conftest.py: return'
            " Metadata(..), SqlFiles(..) or Command(..), from pytest_pgtemplate",
        )
    directories = settings.identity.directories
    return Alembic(config, settings.template.revision, directories=directories)


def ensure_template(
    database: IsolatedDatabase, server: Server, migrations: Migrations, seed: Seed | None
) -> Template:
    """Return the template; build it, or wait for the process that builds it.

    Raises ConfigurationError, MigrationError, TemplateError and ServerError.
    """
    settings, progress = database.settings, database.run.progress
    began = clocks.monotonic()
    migrations = with_directories(migrations, settings)
    request = template_request(settings, server, migrations, seed)
    template = database.prepared.take_template(request.name)
    if template is None:
        database.prepared.begin_attempt(request.name, database.run.environment.digest())
        build = partial(build_template, database, server, migrations, seed)
        with progress.timed_step("template", progress_file.WAITING_FOR_TEMPLATE):
            template = _template.ensure_template(request, build, server, cache() / "locks")
    database.stats.template_time += clocks.monotonic() - began
    return template


def take_prepared_database(
    database: IsolatedDatabase, server: Server, template: Template
) -> Resource[WorkerDatabase] | None:
    """Return the prepared database if there is one and it has the state of the template.

    Its URL may be in a variable of ``pg_env``: tests and fixtures that request no fixture of the
    plugin may have written to it.
    """
    prepared = database.prepared.take_database(server, template)
    if prepared is None:
        return None
    try:
        result = prepared.value.reset()
        if result.reclone_reason is None and not result.leaks and not result.differences:
            return prepared
    except PgTemplateError:  # such as a lost connection: the next clone has one of its own
        pass
    with suppress(PgTemplateError):
        prepared.close()
    return None


def create_database(
    database: IsolatedDatabase, server: Server, template: Template
) -> Resource[WorkerDatabase]:
    """Create the database of this worker; start the sweep and the clones for other workers.

    Raises ServerError.
    """
    settings, stats = database.settings, database.stats
    began = clocks.monotonic()
    database.prepared.begin_attempt(f"clone of {template.name}")
    worker_name = partial(database_names.worker, settings.template.prefix, settings.identity.run)
    options = WorkerOptions(settings.isolation.keep, settings.isolation.verify)
    with database.run.progress.timed_step("clone", "cloning the template"):
        name = worker_name(settings.identity.worker)
        worker = WorkerDatabase(server, template, name, settings.identity.run, options)
    stats.clone_time = clocks.monotonic() - began
    stats.from_spare = worker.from_spare
    stats.tracking, stats.event_triggers = worker.tracking, worker.event_triggers
    stats.stand_ins, stats.uncovered = worker.stand_ins, worker.uncovered
    stats.lock_room = server.facts.max_locks // max(worker.relations, 1)
    database.run.limits.expect(stats, workers=1 + len(settings.peers))
    sweeping = None
    if settings.sweeps:
        sweeping = sweep.start_sweep(server, template.name, settings.template.prefix)
    if template.built and settings.peers:
        worker.prepare([worker_name(peer) for peer in settings.peers])

    def close() -> None:
        if sweeping is not None:
            sweeping.join(SWEEP_TIMEOUT)
        try:
            worker.close(drop=database.needs_clone)
        except PgTemplateError:
            if not database.state_unknown:  # otherwise a test has reported why
                raise
        stats.differences += describe(worker.changes)

    return Resource(worker, close)


# For the fixtures: each function takes one step with what the previous one has prepared.


def prepare_server(database: IsolatedDatabase) -> None:
    database.prepared.server = start_server(database)


def prepare_template(database: IsolatedDatabase, overrides: Mapping[str, Any]) -> None:
    """``overrides``: values of the overridden fixtures ``pg_migrations`` and ``pg_seed``."""
    prepared = database.prepared
    if prepared.server is not None:
        default = None if "pg_migrations" in overrides else default_migrations(database)
        migrations, seed = overrides.get("pg_migrations", default), overrides.get("pg_seed")
        prepared.template = ensure_template(database, prepared.server.value, migrations, seed)


def prepare_database(database: IsolatedDatabase) -> None:
    prepared = database.prepared
    if prepared.server is not None and prepared.template is not None:
        server, template = prepared.server.value, prepared.template
        prepared.database = create_database(database, server, template)
