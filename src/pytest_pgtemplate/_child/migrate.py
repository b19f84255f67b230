"""In the child process: Alembic, up to the wanted revision, in one named database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_pgtemplate._display import progress_file
from pytest_pgtemplate.errors import ConfigurationError, MigrationError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

    Plan = Callable[[Any, MigrationContext], Iterable[Any]]

HINT = (
    'read the URL with config.get_main_option("sqlalchemy.url"), or name in pg_env the environment'
    " variable that env.py reads"
)


def run(job: dict[str, Any]) -> str:
    """Migrate, and see that the database then holds what was asked for; return what has run.

    Raises MigrationError.
    """
    from pytest_pgtemplate._internals.alembic import upgrade_steps

    script, run_env = open_environment(job)
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
            f"after the migrations the template holds {_join(applied)}, not {_join(wanted)}",
            hint="env.py must call context.run_migrations() and let its transaction commit",
        )
    return f"{len(steps)} of {len(upgrade_steps(script, job['revision'], 'base'))} revisions"


def progress_of(job: dict[str, Any]) -> Path | None:
    """Where to tell how far the job has come."""
    return Path(job["progress"]) if job["progress"] else None


def revision_title(step: Any) -> str:
    """What a revision is called, and what it says that it does."""
    return f"{step.revision.revision} {step.revision.doc or ''}".rstrip()


def open_environment(job: dict[str, Any]) -> tuple[ScriptDirectory, Callable[..., None]]:
    """The revisions, and a function that lets env.py run what a plan says.

    Its further arguments overrule what env.py configures. It raises MigrationError when env.py was
    about to migrate another database, and whatever the user's code raises.
    """
    from alembic.script import ScriptDirectory

    config = _config(job)
    script = ScriptDirectory.from_config(config)
    return script, partial(_run_env, job, config, script)


def _config(job: dict[str, Any]) -> Config:
    from alembic.config import Config

    knows_toml = hasattr(Config, "get_alembic_option")
    if not job["ini"] and not knows_toml:
        raise MigrationError(
            f"{job['toml']} has a [tool.alembic] table, which Alembic reads since version 1.16",
            hint="pip install 'alembic>=1.16', or write an alembic.ini",
        )
    toml = {"toml_file": job["toml"]} if job["toml"] and knows_toml else {}
    config = Config(job["ini"], **toml)
    config.set_main_option("sqlalchemy.url", job["url"].replace("%", "%%"))
    config.attributes.update(job["attributes"])
    return config


@contextmanager
def _connection(job: dict[str, Any]) -> Iterator[Connection | None]:
    """As Alembic's cookbook shares it: a sync one, for an env.py that may be given one."""
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.pool import NullPool

    from pytest_pgtemplate import _urls

    try:
        url = _urls.sync_url(make_url(job["url"])) if job["connection"] else None
    except ConfigurationError:  # no sync driver: with asyncpg alone env.py can do without
        url = None
    if url is None:
        yield None
        return
    with create_engine(url, poolclass=NullPool).connect() as connection:
        # pytest-alembic may give an engine: an env.py written for it connects.
        vars(connection)["connect"] = partial(nullcontext, connection)
        yield connection
        connection.commit()


def _run_env(
    job: dict[str, Any], config: Config, script: ScriptDirectory, plan: Plan, **options: Any
) -> None:
    from alembic.runtime.environment import EnvironmentContext
    from sqlalchemy.exc import DBAPIError

    from pytest_pgtemplate._internals.alembic import override_configure

    configured: list[MigrationContext] = []

    def check(context: MigrationContext) -> None:
        configured.append(context)
        # Before anything is written: the last moment to keep another database whole.
        _check_database(context, job["database"])

    environment = EnvironmentContext(config, script, fn=plan, destination_rev=job["revision"])
    override_configure(environment, options, check)
    with _connection(job) as connection, environment:
        if connection is not None:
            config.attributes["connection"] = connection
        try:
            script.run_env()
        except (DBAPIError, OSError) as error:
            if not configured:
                error.add_note(
                    "env.py failed before it began to migrate; maybe it ignores the URL it is"
                    f" given: {HINT}"
                )
            raise
        except SystemExit as error:
            raise MigrationError(
                f"env.py ended its process: sys.exit({error.code!r})",
                hint="let it migrate when context.is_offline_mode() is false",
            ) from error


def _check_database(context: MigrationContext, wanted: str) -> None:
    connection = context.connection
    if connection is None:
        raise MigrationError(
            "env.py ran in offline mode",
            hint="call context.configure(connection=...) when context.is_offline_mode() is false",
        )
    in_transaction = connection.in_transaction()
    actual = connection.exec_driver_sql("SELECT current_database()").scalar()
    if not in_transaction:
        connection.rollback()  # env.py shall find it as it was
    if actual != wanted:
        raise MigrationError(
            f'env.py ignores the URL it is given: it was about to migrate database "{actual}"'
            f' instead of "{wanted}"',
            hint=HINT,
        )


async def _applied_revisions(dsn: str, context: MigrationContext | None) -> set[str]:
    """The revisions that the database itself says it holds."""
    import asyncpg

    if context is None:
        return set()
    schema = context.version_table_schema
    table = ".".join(f'"{name}"' for name in (schema, context.version_table) if name)
    connection = await asyncpg.connect(dsn)
    try:
        return {row[0] for row in await connection.fetch(f"SELECT version_num FROM {table}")}
    except asyncpg.UndefinedTableError:
        return set()
    finally:
        await connection.close()


def _join(revisions: set[str]) -> str:
    return ", ".join(sorted(revisions)) or "no revision"
