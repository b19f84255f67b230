"""In the child process: run Alembic's upgrade in one database, and verify the result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_pgtemplate._child import hints
from pytest_pgtemplate._child.revisions import make_config, write_list
from pytest_pgtemplate._display import progress_file
from pytest_pgtemplate.errors import ConfigurationError, MigrationError, PgTemplateError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

    Plan = Callable[[Any, MigrationContext], Iterable[Any]]


def run(job: dict[str, Any]) -> str:
    """Migrate, and return what has run, for example "3 of 10 revisions".

    Raises MigrationError if the database then holds other revisions than the target.
    """
    from pytest_pgtemplate._internals.alembic import upgrade_steps

    script, run_env = open_environment(job)
    _write_revisions(job, script)
    wanted = {revision.revision for revision in script.get_revisions(job["revision"]) if revision}
    seen: list[MigrationContext] = []
    steps: list[Any] = []

    def plan(heads: Any, context: MigrationContext) -> Any:
        seen.append(context)
        steps[:] = upgrade_steps(script, job["revision"], heads)
        return progress_file.report_progress(
            progress_of(job), "migrating", steps, list(map(revision_title, steps))
        )

    run_env(plan)
    applied = asyncio.run(_applied_revisions(job["dsn"], seen[-1] if seen else None))
    if applied != wanted:
        raise MigrationError(
            f"after the migrations the template contains {_join(applied)}, not {_join(wanted)}",
            hint="env.py must call context.run_migrations() and commit its transaction",
        )
    return f"{len(steps)} of {len(upgrade_steps(script, job['revision'], 'base'))} revisions"


def _write_revisions(job: dict[str, Any], script: ScriptDirectory) -> None:
    """Write the list of revisions, too, so that no other process has to be started for it."""
    if job["revisions_file"]:
        with suppress(MigrationError, OSError):  # if the lineage is broken, Alembic may say so
            write_list(script, Path(job["revisions_file"]))


def progress_of(job: dict[str, Any]) -> Path | None:
    """Return the file in which the job reports its progress."""
    return Path(job["progress"]) if job["progress"] else None


def revision_title(step: Any) -> str:
    """Return the revision's id and message."""
    return f"{step.revision.revision} {step.revision.doc or ''}".rstrip()


def open_environment(job: dict[str, Any]) -> tuple[ScriptDirectory, Callable[..., None]]:
    """Return the script directory, and a function that runs env.py with a plan of steps.

    Further arguments of that function override those of ``context.configure()``. It raises
    MigrationError before env.py migrates another database, and every error of the user's code.
    """
    from alembic.script import ScriptDirectory

    config = make_config(job)
    config.set_main_option("sqlalchemy.url", job["url"].replace("%", "%%"))
    config.attributes.update(job["attributes"])
    script = ScriptDirectory.from_config(config)
    return script, partial(_run_env, job, config, script)


@contextmanager
def _connection(job: dict[str, Any]) -> Iterator[Connection | None]:
    """Yield a sync connection for an env.py that reads ``attributes["connection"]``, or None.

    https://alembic.sqlalchemy.org/en/latest/cookbook.html#sharing-a-connection-across-one-or-more-programmatic-migration-commands
    """
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.pool import NullPool

    from pytest_pgtemplate import _urls

    try:
        url = _urls.sync_url(make_url(job["url"])) if job["connection"] else None
    except ConfigurationError:  # no sync driver is installed; env.py then connects itself
        url = None
    if url is None:
        yield None
        return
    with create_engine(url, poolclass=NullPool).connect() as connection:
        # pytest-alembic can pass an engine instead, so an env.py for it calls connect().
        vars(connection)["connect"] = partial(nullcontext, connection)
        yield connection
        connection.commit()


def _run_env(
    job: dict[str, Any], config: Config, script: ScriptDirectory, plan: Plan, **options: Any
) -> None:
    from alembic.runtime.environment import EnvironmentContext

    from pytest_pgtemplate._internals.alembic import override_configure, record_arguments

    configured: list[MigrationContext] = []

    def check(context: MigrationContext) -> None:
        configured.append(context)
        record_arguments(context)
        # Before anything is written: this is the last chance to protect another database.
        _check_database(context, job["database"])

    environment = EnvironmentContext(config, script, fn=plan, destination_rev=job["revision"])
    override_configure(environment, options, check)
    with _connection(job) as connection, environment:
        if connection is not None:
            config.attributes["connection"] = connection
        try:
            script.run_env()
        except PgTemplateError:
            raise
        except Exception as error:
            if configured:
                raise
            raise hints.explain_before_configure(error) from error
        except SystemExit as error:
            raise MigrationError(
                f"env.py ended its process: sys.exit({error.code!r})",
                hint="let env.py migrate if context.is_offline_mode() is false",
            ) from error


def _check_database(context: MigrationContext, wanted: str) -> None:
    connection = context.connection
    if connection is None:
        raise MigrationError(
            "env.py ran in offline mode",
            hint="call context.configure(connection=...) if context.is_offline_mode() is false",
        )
    if connection.dialect.name != "postgresql":
        raise MigrationError(
            f"env.py connects to {connection.dialect.name}, not to the URL that the plugin passed",
            hint=hints.READ_THE_URL,
        )
    in_transaction = connection.in_transaction()
    actual, schema = connection.exec_driver_sql("SELECT current_database(), current_schema()").one()
    context.opts["pgtemplate_schema"] = schema  # env.py may have set the search path
    if not in_transaction:
        connection.rollback()  # end the transaction that the query began
    if actual != wanted:
        raise MigrationError(
            f'env.py ignores the URL that the plugin passes: it would migrate database "{actual}"'
            f' instead of "{wanted}"',
            hint=hints.READ_THE_URL,
        )


async def _applied_revisions(dsn: str, context: MigrationContext | None) -> set[str]:
    """Return the revisions in the version table of the database."""
    import asyncpg

    from pytest_pgtemplate._server import quote_identifier

    if context is None:
        return set()
    schema = context.version_table_schema or context.opts["pgtemplate_schema"]
    table = ".".join(quote_identifier(name) for name in (schema, context.version_table) if name)
    connection = await asyncpg.connect(dsn)
    try:
        return {row[0] for row in await connection.fetch(f"SELECT version_num FROM {table}")}
    except asyncpg.UndefinedTableError:
        return set()
    finally:
        await connection.close()


def _join(revisions: set[str]) -> str:
    return ", ".join(sorted(revisions)) or "no revision"
