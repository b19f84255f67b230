"""The fixtures up to this worker's database: one per step from the settings on. All are sync.

Every ``pg*`` name can be overridden in a conftest.py; what depends on it follows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytest_pgtemplate._run import RUN, Run, fail
from pytest_pgtemplate.errors import PgTemplateError

if TYPE_CHECKING:
    from pytest_pgtemplate._server import Server
    from pytest_pgtemplate._settings import Settings
    from pytest_pgtemplate._template import Migrations, Order, Scratch, Seed, Target, Template
    from pytest_pgtemplate._worker import Database


SWEEP_PATIENCE = 5.0  # seconds at the end of a run; the next run goes on with what is left


@pytest.fixture(scope="session")
def _pg_run(pytestconfig: pytest.Config) -> Run:
    return pytestconfig.stash[RUN]


@pytest.fixture(scope="session")
def pg_migrations(_pg_run: Run) -> Migrations:
    """What builds the schema. Override it to use something else than Alembic."""
    from pytest_pgtemplate._template import Alembic

    return Alembic(_pg_run.settings.alembic_config, _pg_run.settings.revision)


@pytest.fixture(scope="session")
def pg_seed() -> Seed | None:
    """None, or a function ``(url: str) -> None`` that fills the template once. Override it."""
    return None


@pytest.fixture(scope="session")
def pg_server(_pg_run: Run) -> Iterator[Server]:
    """The server: ``.url``, ``.version``, ``.facts``."""
    from pytest_pgtemplate import _embedded, _urls
    from pytest_pgtemplate._server import Server

    settings = _pg_run.settings
    hold = None
    with _pg_run.reports.once("pg_server"):
        _pg_run.environment.check()
        given = settings.url
        if given is None:
            settings.refuse_foreign()
            with _pg_run.progress.during("server", "starting the embedded server"):
                hold = _embedded.acquire(*settings.embedded, timeout=settings.timeout)
            given = hold.url
            _pg_run.urls.append(given)
        server = Server(_urls.parse(given), timeout=settings.timeout)
    _pg_run.stats.server, _pg_run.stats.room = str(server), server.facts.workers
    yield server
    server.close()
    if hold:
        hold.close()


@pytest.fixture(scope="session")
def pg_template(
    _pg_run: Run, pg_server: Server, pg_migrations: Migrations, pg_seed: Seed | None
) -> Template:
    """The template: ``.name``, ``.fingerprint``, ``.built``."""
    from pytest_pgtemplate import _template

    settings = _pg_run.settings
    began = time.perf_counter()
    with _pg_run.reports.once("pg_template"):
        if _pg_run.disagreement is not None:
            raise _pg_run.disagreement
        order = order_of(settings, pg_server, pg_migrations, pg_seed)
        build = partial(_build, _pg_run, pg_server, pg_migrations, pg_seed)
        with _pg_run.progress.during("template", "waiting for the template"):
            template = _template.ensure(order, build, pg_server, settings.cache / "locks")
    _pg_run.stats.template = template.name
    _pg_run.stats.template_time = time.perf_counter() - began
    return template


def order_of(
    settings: Settings, server: Server, migrations: Migrations, seed: Seed | None
) -> Order:
    """What decides the template: our own SQL, other files, the migrations and then the seed."""
    from pytest_pgtemplate import _embedded, _template
    from pytest_pgtemplate._reset import layout

    base = [settings.tracking.encode(), layout()]
    base += [path.read_bytes() for path in settings.fingerprint_files]
    base += [_embedded.stand_ins_fingerprint()] if settings.url is None else []
    parts = [*base, *migrations.fingerprint()]
    order = _template.Order(
        prefix=settings.prefix,
        run=settings.run,
        fingerprint=_template.fingerprint(parts, server),
        rebuild=settings.rebuild,
        lineage=partial(_template.lineage_of, migrations, base),
    )
    if seed is None:
        return order
    parts += _template.seed.fingerprint(seed)
    seeded = _template.fingerprint(parts, server)
    return replace(order, fingerprint=seeded, lineage=lambda: None, unseeded=order)


def target_of(
    settings: Settings, server: Server, database: str, held: frozenset[str] = frozenset()
) -> Target:
    """A database to migrate."""
    from pytest_pgtemplate import _address, _env, _template, _urls

    url = server.url.set(database=database)
    env = _env.render(settings.env, _address.parse(_urls.render(url)))
    return _template.Target(url, settings.timeout, env, held)


def _build(
    run: Run, server: Server, migrations: Migrations, seed: Seed | None, scratch: Scratch
) -> None:
    """Migrate or seed, make resettable; the first worker to fail spares the others the same."""
    from pytest_pgtemplate import _template
    from pytest_pgtemplate._reset import install, uninstall

    settings, failures, order = run.settings, run.reports.failures, scratch.order
    failures.raise_if_build_failed(order.name)
    held = scratch.origin.held if scratch.origin else frozenset()
    target = target_of(settings, server, scratch.name, held)
    target = replace(target, progress=run.progress.file)
    url = target.url
    try:
        if scratch.origin is not None:
            uninstall(url, settings.tracking, timeout=settings.timeout)
        if order.unseeded is None:
            run.progress.tell("migrating")
            ran = _template.migrate(migrations, target)
            run.stats.built = f"migrated {ran}" if ran else "migrated"
        elif seed is not None:
            run.progress.tell("seeding")
            _template.seed.run(seed, target)
            run.stats.built = run.stats.built or "seeded"
        run.progress.tell("making the template resettable")
        install(url, settings.tracking, timeout=settings.timeout)
    except PgTemplateError as error:
        failures.remember_build(order.name, error)
        raise


@pytest.fixture(scope="session")
def pg_database(_pg_run: Run, pg_server: Server, pg_template: Template) -> Iterator[Database]:
    """This worker's own database: ``.name``, ``.url``, ``.dsn``, ``.template``."""
    from pytest_pgtemplate import _names
    from pytest_pgtemplate._worker import Worker, sweep

    settings, stats = _pg_run.settings, _pg_run.stats
    began = time.perf_counter()
    with _pg_run.reports.once("pg_database"):
        name = _names.worker(settings.prefix, settings.run, settings.worker)
        with _pg_run.progress.during("clone", "cloning the template"):
            worker = Worker(pg_server, pg_template, name, settings.run, keep=settings.keep)
    stats.clone_time = time.perf_counter() - began
    stats.from_spare = worker.from_spare
    stats.tracking, stats.event_triggers = worker.tracking, worker.event_triggers
    stats.stand_ins = worker.stand_ins
    sweeping = None
    if settings.sweeps:
        sweeping = sweep.in_background(pg_server, pg_template.name, settings.prefix)
    if pg_template.built and settings.peers:
        names = [_names.worker(settings.prefix, settings.run, peer) for peer in settings.peers]
        worker.prepare(names)
    _pg_run.worker = worker
    yield worker.database
    if settings.keep:
        stats.kept.append(f"{settings.worker}: {_pg_run.psql(name)}")
    try:
        _pg_run.finish_last()
    except PgTemplateError as error:
        fail(error)
    finally:
        _pg_run.worker = None
        if sweeping is not None:
            sweeping.join(SWEEP_PATIENCE)
        with _pg_run.reports.at_end(known=_pg_run.lost):
            worker.close(drop=_pg_run.lost)


@pytest.fixture(scope="session")
def pg_url(pg_database: Database) -> str:
    """This worker's URL, with the driver that was configured, password included."""
    from pytest_pgtemplate import _urls

    return _urls.render(pg_database.url)


@pytest.fixture
def pg(_pg_run: Run, pg_database: Database) -> Database:
    """This worker's database, and the promise that this test starts from the template's state."""
    _pg_run.renew()
    return pg_database
