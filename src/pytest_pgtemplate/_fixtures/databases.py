"""The fixtures up to this worker's database, one per step of the data flow. All are sync.

They are written for the main database; ``factory`` renames them for each further one. Every ``pg*``
fixture can be overridden in a conftest.py, and the fixtures that depend on it use the override.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from pytest_pgtemplate._fixtures.factory import fixture
from pytest_pgtemplate._fixtures.template_build import (
    build_template,
    template_request,
    with_directories,
)
from pytest_pgtemplate._run import IsolatedDatabase, fail
from pytest_pgtemplate._settings import cache
from pytest_pgtemplate.errors import ConfigurationError, PgTemplateError

if TYPE_CHECKING:
    from pytest_pgtemplate._server import Server
    from pytest_pgtemplate._template import (
        Migrations,
        Seed,
        Template,
    )
    from pytest_pgtemplate._worker import Database


SWEEP_TIMEOUT = 5.0  # seconds to wait for the sweep at the end; the next run sweeps the rest


@fixture(scope="session")
def pg_migrations(_pg: IsolatedDatabase) -> Migrations:
    """The migrations that build the schema. Override it to use something other than Alembic."""
    from pytest_pgtemplate._template import Alembic

    config = _pg.settings.template.alembic_config
    if config is not None:
        directories = _pg.settings.identity.directories
        return Alembic(config, _pg.settings.template.revision, directories=directories)
    with _pg.reported_once("pg_migrations"):
        raise ConfigurationError(
            f'no migrations are configured for the database "{_pg.name}"',
            hint=f"set pg_alembic_ini_{_pg.name} to its alembic.ini, or override the fixture"
            f' {_pg.fixture_name("pg_migrations")} (scope="session") in a conftest.py: return'
            " Metadata(..), SqlFiles(..) or Command(..), from pytest_pgtemplate",
        )


@fixture(scope="session")
def pg_seed() -> Seed | None:
    """None, or a function ``(url: str) -> None`` that fills the template once. Override it."""
    return None


@fixture(scope="session")
def pg_server(_pg: IsolatedDatabase) -> Iterator[Server]:
    """The server: ``.url``, ``.version``, ``.facts``."""
    from pytest_pgtemplate import _embedded, _urls
    from pytest_pgtemplate._server import Server

    settings = _pg.settings
    handle = None
    with _pg.reported_once("pg_server"):
        _pg.run.environment.raise_if_changed()
        given = settings.url
        if given is None:
            settings.refuse_other_host()
            with _pg.run.progress.timed_step("server", "starting the embedded server"):
                handle = _embedded.acquire(
                    *settings.server.embedded, timeout=settings.server.timeout
                )
            given = handle.url
            _pg.run.urls.append(given)
        url = _urls.parse(given)
        if handle is not None:
            url = _urls.for_driver(url, settings.server.driver)
        server = Server(url, timeout=settings.server.timeout)
    _pg.stats.server, _pg.stats.room = str(server), server.facts.workers
    _pg.stats.allowed = server.facts.max_connections
    yield server
    server.close()
    if handle:
        handle.close()


@fixture(scope="session")
def pg_template(
    _pg: IsolatedDatabase, pg_server: Server, pg_migrations: Migrations, pg_seed: Seed | None
) -> Template:
    """The template: ``.name``, ``.fingerprint``, ``.built``."""
    from pytest_pgtemplate import _template
    from pytest_pgtemplate._display import progress_file

    settings = _pg.settings
    began = time.perf_counter()
    with _pg.reported_once("pg_template"):
        if _pg.override_conflict is not None:
            raise _pg.override_conflict
        migrations = with_directories(pg_migrations, settings)
        request = template_request(settings, pg_server, migrations, pg_seed)
        build = partial(build_template, _pg, pg_server, migrations, pg_seed)
        with _pg.run.progress.timed_step("template", progress_file.WAITING_FOR_TEMPLATE):
            template = _template.ensure_template(request, build, pg_server, cache() / "locks")
    _pg.stats.template = template.name
    _pg.stats.template_time = time.perf_counter() - began
    return template


@fixture(scope="session")
def pg_database(
    _pg: IsolatedDatabase, pg_server: Server, pg_template: Template
) -> Iterator[Database]:
    """This worker's own database: ``.name``, ``.url``, ``.dsn``, ``.template``."""
    from pytest_pgtemplate._reset import describe
    from pytest_pgtemplate._urls import database_names
    from pytest_pgtemplate._worker import WorkerDatabase, WorkerOptions, sweep

    settings, stats = _pg.settings, _pg.stats
    began = time.perf_counter()
    with _pg.reported_once("pg_database"):
        name = database_names.worker(
            settings.template.prefix, settings.identity.run, settings.identity.worker
        )
        options = WorkerOptions(settings.isolation.keep, settings.isolation.verify)
        with _pg.run.progress.timed_step("clone", "cloning the template"):
            worker = WorkerDatabase(pg_server, pg_template, name, settings.identity.run, options)
    stats.clone_time = time.perf_counter() - began
    stats.from_spare = worker.from_spare
    stats.tracking, stats.event_triggers = worker.tracking, worker.event_triggers
    stats.stand_ins = worker.stand_ins
    stats.lock_room = pg_server.facts.max_locks // max(worker.relations, 1)
    sweeping = None
    if settings.sweeps:
        sweeping = sweep.start_sweep(pg_server, pg_template.name, settings.template.prefix)
    if pg_template.built and settings.peers:
        names = [
            database_names.worker(settings.template.prefix, settings.identity.run, peer)
            for peer in settings.peers
        ]
        worker.prepare(names)
    _pg.worker = worker
    yield worker.database
    if _pg.worker is None:  # in a forked child; the parent goes on with the database
        return
    if settings.isolation.keep:
        stats.kept.append(f"{settings.identity.worker}: {_pg.psql_command(name)}")
    try:
        _pg.finish_last_test()
    except PgTemplateError as error:
        fail(error)
    finally:
        _pg.worker = None
        if sweeping is not None:
            sweeping.join(SWEEP_TIMEOUT)
        with _pg.run.reports.reported_at_end(known=_pg.state_unknown):
            worker.close(drop=_pg.state_unknown or _pg.clone_is_due)
        stats.differences += describe(worker.changes)


@fixture(scope="session")
def pg_url(pg_database: Database) -> str:
    """The URL of this worker's database, with the configured driver and the password."""
    from pytest_pgtemplate import _urls

    return _urls.render(pg_database.url)


@fixture()
def pg(_pg: IsolatedDatabase, pg_database: Database) -> Database:
    """This worker's database. The test starts with the template's state."""
    _pg.mark_used()
    return pg_database
