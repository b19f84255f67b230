"""The plugin of ``--pg-check``: tests of the migrations, as items of the run.

The items belong to the configuration file of Alembic, of which each database may have one. The item
of a revision has the name of its file. The controller also imports this module, but checks nothing:
so slow modules are imported in functions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_pgtemplate._fixtures import factory
from pytest_pgtemplate._fixtures.template_build import (
    migration_target,
    revisions_cache,
    template_request,
    with_directories,
)
from pytest_pgtemplate._internals.pytest import requested_by_signature, set_item_id
from pytest_pgtemplate._run import RUN, ErrorReporter, fail
from pytest_pgtemplate._settings import options
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import MigrationError, PgTemplateError

if TYPE_CHECKING:
    from pytest_pgtemplate._check.checks import RevisionChecks
    from pytest_pgtemplate._check.verdicts import Verdict
    from pytest_pgtemplate._run.isolated_database import IsolatedDatabase
    from pytest_pgtemplate._server import Server
    from pytest_pgtemplate._settings import Settings
    from pytest_pgtemplate._template import Alembic, Migrations, Script, Seed, Template


def pytest_configure(config: pytest.Config) -> None:
    """Collect the configuration files of Alembic, too, or (check.only) nothing else."""
    if config.stash[RUN].settings.check.only:
        config.args.clear()
    given = {config.invocation_params.dir / arg.partition("::")[0] for arg in config.args}
    config.args += [str(file) for file in _files(config) if file not in given]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    database = _files(parent.config).get(file_path)
    if database is None:
        return None
    return AlembicFile.from_parent(parent, path=file_path, database=database)


def _files(config: pytest.Config) -> dict[Path, IsolatedDatabase]:
    """Return the database of each configuration file; the first one if two share a file."""
    found: dict[Path, IsolatedDatabase] = {}
    for database in config.stash[RUN].load_databases().values():
        file = database.settings.template.alembic_config
        if file is not None and file.is_file():
            found.setdefault(file, database)
    return found


@pytest.hookimpl(trylast=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Check items use neither ``pg_autouse`` nor the autouse fixtures of the project."""
    if isinstance(item, CheckItem):
        item.fixturenames[:] = requested_by_signature(item)


class AlembicFile(pytest.File):
    """The revisions of an Alembic environment."""

    def __init__(self, *, database: IsolatedDatabase, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._database = database

    def collect(self) -> Iterable[pytest.Item]:
        from pytest_pgtemplate._check.plan import checked
        from pytest_pgtemplate._check.walk import MODELS
        from pytest_pgtemplate._template import Alembic

        settings = self._database.settings
        try:
            alembic = Alembic(self.path, directories=settings.identity.directories)
            scripts = alembic.scripts(revisions_cache(), settings.server.timeout)
        except PgTemplateError as broken:
            yield self._item("heads", partial(fail, broken))
            return
        since = settings.check.since
        if since is not None and since not in (script.name for script in scripts):
            option = self._option("pg_check_since")
            raise self.CollectError(f"{option}: there is no revision {since!r}")
        option = self._option("pg_check_heads")
        yield self._item("heads", partial(_check_heads, scripts, settings.check.heads, option))
        yield self._item("build", _check_build)
        for script in checked(scripts, since):
            yield self._revision_item(script)
        yield self._item("models", _check, name=MODELS)

    def _option(self, name: str) -> str:
        return options.option_name(name, self._database.name)

    def _revision_item(self, script: Script) -> CheckItem:
        file = os.path.relpath(script.file, self.path.parent)
        item = self._item(f"revision[{file}]", _check, name=script.name)
        item.where = (script.file, (script.downgrade or 1) - 1)
        if script.irreversible:
            item.add_marker(pytest.mark.skip(reason=f"revision {script.name} is irreversible"))
        return item

    def _item(self, title: str, check: Callable[..., object], **given: object) -> CheckItem:
        function = factory.for_database(self._database.name, check)
        return CheckItem.from_parent(self, name=title, callobj=partial(function, **given))


class CheckItem(pytest.Function):
    """The item of one check."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        set_item_id(self)
        self.add_marker(pytest.mark.pg(isolation="none"))  # it never writes to a worker's database
        self.where: tuple[Path, int] = (self.path, 0)  # file and line, counted from 0

    def reportinfo(self) -> tuple[Path, int, str]:
        return (*self.where, self.name)


@factory.fixture(scope="session")
def _pg_checks(
    _pg: IsolatedDatabase, pg_server: Server, pg_migrations: Migrations, pg_seed: Seed | None
) -> Iterator[RevisionChecks]:
    from pytest_pgtemplate._check.checks import CheckTask, RevisionChecks
    from pytest_pgtemplate._check.plan import checked
    from pytest_pgtemplate._check.walk import CheckContext
    from pytest_pgtemplate._fixtures.steps import SWEEP_TIMEOUT
    from pytest_pgtemplate._settings import cache
    from pytest_pgtemplate._worker import sweep

    settings = _pg.settings
    with _pg.reported_once("_pg_checks"):
        migrations = with_directories(pg_migrations, settings)
        alembic = _alembic(settings, migrations)
        scripts = alembic.scripts(revisions_cache(), settings.server.timeout)

        def environment_parts() -> list[bytes]:
            return [
                *alembic.environment_parts(scripts),
                pg_server.facts.for_schema,
                str(settings.check.column_order).encode(),
                *(path.read_bytes() for path in settings.template.fingerprint_files),
            ]

        context = CheckContext(
            alembic,
            {script.name: script for script in scripts},
            pg_server,
            database_names.check(
                settings.template.prefix, settings.identity.run, settings.identity.worker
            ),
            settings.identity.run,
            settings.template.tracking,
            settings.identity.root,
            settings.check.column_order,
            partial(migration_target, _pg, pg_server),
        )
        above = checked(scripts, settings.check.since)
        task = CheckTask(
            [script.name for script in above if not script.irreversible],
            environment_parts,
            template_request(settings, pg_server, migrations, pg_seed),
            settings.identity.workers,
            _pg.run.directory() / _pg.name,
            cache() / "checks",
            partial(_pg.run.progress.timed_step, "check"),
        )
        checks = RevisionChecks(context, task)
    sweeping = None
    if settings.sweeps:  # a check that was killed leaves its databases, and may have no tests
        prefix = settings.template.prefix
        sweeping = sweep.start_sweep(pg_server, task.request.name, prefix)
    yield checks
    if sweeping is not None:
        sweeping.join(SWEEP_TIMEOUT)
    with _pg.run.reports.reported_at_end(known=False):
        checks.close()


def _alembic(settings: Settings, migrations: Migrations) -> Alembic:
    """Return the ``pg_migrations`` fixture if it is an Alembic, else the configured one."""
    from pytest_pgtemplate._template import Alembic

    if isinstance(migrations, Alembic):
        return migrations
    template = settings.template
    assert template.alembic_config is not None
    return Alembic(
        template.alembic_config,
        template.revision,
        directories=settings.identity.directories,
    )


def _check_heads(scripts: list[Script], wanted: int, option: str) -> None:
    from pytest_pgtemplate._template import heads

    found = sorted(heads(scripts), key=lambda script: script.name)
    if len(found) != wanted:
        files = ", ".join(f"{head.name} ({head.file.name})" for head in found) or "none"
        fail(
            MigrationError(
                f"the lineage has {len(found)} heads, not {wanted}: {files}",
                hint=f"merge them (alembic merge heads), or set {option} to their number",
            )
        )


def _check(name: str, _pg_checks: RevisionChecks, _pg: IsolatedDatabase) -> None:
    _report_verdict(partial(_pg_checks.verdict, name), _pg.run.reports)


def _check_build(
    _pg_checks: RevisionChecks,
    _pg: IsolatedDatabase,
    pg_template: Template,
    pg_migrations: Migrations,
) -> None:
    migrations = with_directories(pg_migrations, _pg.settings)
    _report_verdict(partial(_pg_checks.build, pg_template, migrations), _pg.run.reports)


def _report_verdict(check: Callable[[], Verdict], reports: ErrorReporter) -> None:
    try:
        verdict = check()
    except PgTemplateError as error:
        reports.fail_or_skip(error)
    if verdict.outcome == "failed":
        pytest.fail(verdict.text, pytrace=False)
    if verdict.outcome == "skipped":
        pytest.skip(verdict.text)
