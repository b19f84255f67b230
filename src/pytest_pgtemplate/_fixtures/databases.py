"""The fixtures up to this worker's database, one per step of the data flow. All are sync.

They are written for the main database; ``factory`` renames them for each further one. Every ``pg*``
fixture can be overridden in a conftest.py, and the fixtures that depend on it use the override.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_pgtemplate._fixtures.factory import fixture
from pytest_pgtemplate._run import fail
from pytest_pgtemplate.errors import PgTemplateError

if TYPE_CHECKING:
    from pytest_pgtemplate._run.isolated_database import IsolatedDatabase
    from pytest_pgtemplate._server import Server
    from pytest_pgtemplate._template import (
        Migrations,
        Seed,
        Template,
    )
    from pytest_pgtemplate._worker import Database


@fixture(scope="session")
def pg_migrations(_pg: IsolatedDatabase) -> Migrations:
    """The migrations that build the schema. Override it to use something other than Alembic."""
    from pytest_pgtemplate._fixtures import steps

    with _pg.reported_once("pg_migrations"):
        return steps.default_migrations(_pg)


@fixture(scope="session")
def pg_seed() -> Seed | None:
    """None, or a function ``(url: str) -> None`` that fills the template once. Override it."""
    return None


@fixture(scope="session")
def pg_server(_pg: IsolatedDatabase) -> Iterator[Server]:
    """The server: ``.url``, ``.version``, ``.facts``."""
    from pytest_pgtemplate._fixtures import steps

    with _pg.reported_once("pg_server"):
        _pg.run.environment.raise_if_changed()
        _pg.run.close_resources()  # of a test that is repeated
        server = _pg.prepared.take_server() or steps.start_server(_pg)
    yield server.value
    _pg.run.close_later(server)


@fixture(scope="session")
def pg_template(
    _pg: IsolatedDatabase, pg_server: Server, pg_migrations: Migrations, pg_seed: Seed | None
) -> Template:
    """The template: ``.name``, ``.fingerprint``, ``.built``."""
    from pytest_pgtemplate._fixtures import steps

    with _pg.reported_once("pg_template"):
        _pg.override_conflicts.refuse("pg_template")
        template = steps.ensure_template(_pg, pg_server, pg_migrations, pg_seed)
    _pg.stats.template = template.name
    return template


@fixture(scope="session")
def pg_database(
    _pg: IsolatedDatabase, pg_server: Server, pg_template: Template
) -> Iterator[Database]:
    """This worker's own database: ``.name``, ``.url``, ``.dsn``, ``.template``."""
    from pytest_pgtemplate._fixtures import steps

    with _pg.reported_once("pg_database"):
        _pg.run.close_resources()  # of a test that is repeated
        database = steps.take_prepared_database(_pg, pg_server, pg_template)
        database = database or steps.create_database(_pg, pg_server, pg_template)
    _pg.worker = database.value
    yield database.value.database
    if _pg.worker is None:  # in a forked child; the parent still uses the database
        return
    if _pg.settings.isolation.keep:
        psql = _pg.psql_command(database.value.database.name)
        _pg.stats.kept.append(f"{_pg.settings.identity.worker}: {psql}")
    try:
        _pg.finish_last_test()
    except PgTemplateError as error:
        fail(error)
    finally:
        _pg.worker = None
        _pg.run.close_later(database)


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
