"""What runs in the child process: Alembic, up to the wanted revision, in one named database.

A process of its own gives env.py its own event loop, logging and imports. The job comes as one line
of JSON on stdin; the exit code is 0, or 1 with a traceback on stderr, or ``TOLD`` with one line of
JSON on stderr: a message and a hint.

It is run as a file, not as a module, and imports nothing of ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

TOLD = 3


class ToldError(Exception):
    """A problem that we can name better than a traceback does."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(json.dumps({"message": message, "hint": hint}))


def main() -> None:
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.path[:] = job["sys_path"]
    try:
        _upgrade(job)
    except ToldError as problem:
        print(f"\n{problem}", file=sys.stderr)  # noqa: T201 - the parent reads it
        sys.stderr.flush()
        os._exit(TOLD)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _upgrade(job: dict[str, Any]) -> None:
    from alembic.script import ScriptDirectory

    config = _config(job)
    script = ScriptDirectory.from_config(config)
    seen = _run_env(config, script, job["revision"], job["database"])
    wanted = {revision.revision for revision in script.get_revisions(job["revision"]) if revision}
    held = asyncio.run(_held(job["dsn"], seen))
    if held != wanted:
        raise ToldError(
            f"after the migrations the template holds {_list(held)}, not {_list(wanted)}",
            "env.py must call context.run_migrations() and let its transaction commit",
        )


def _config(job: dict[str, Any]) -> Config:
    from alembic.config import Config

    name = job["config"]
    config = Config(toml_file=name) if name.endswith(".toml") else Config(name)
    config.set_main_option("sqlalchemy.url", job["url"].replace("%", "%%"))
    return config


def _run_env(
    config: Config, script: ScriptDirectory, revision: str, database: str
) -> MigrationContext | None:
    """Let env.py migrate; return the context it made."""
    from alembic.runtime.environment import EnvironmentContext

    seen: list[MigrationContext] = []

    def steps(heads: Any, context: MigrationContext) -> Any:
        # Called before the first revision runs: the last moment to keep another database whole.
        _check_database(context, database)
        seen.append(context)
        return script._upgrade_revs(revision, heads)

    with EnvironmentContext(config, script, fn=steps, destination_rev=revision):
        script.run_env()
    return seen[-1] if seen else None


def _check_database(context: MigrationContext, wanted: str) -> None:
    connection = context.connection
    if connection is None:
        raise ToldError(
            "env.py ran in offline mode",
            "call context.configure(connection=...) when context.is_offline_mode() is false",
        )
    actual = connection.exec_driver_sql("SELECT current_database()").scalar()
    if actual != wanted:
        raise ToldError(
            f'env.py ignores the URL it is given: it was about to migrate database "{actual}"'
            f' instead of "{wanted}"',
            'read the URL with config.get_main_option("sqlalchemy.url"), or name the environment'
            " variable that env.py reads in pg_env",
        )


async def _held(dsn: str, context: MigrationContext | None) -> set[str]:
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


def _list(revisions: set[str]) -> str:
    return ", ".join(sorted(revisions)) or "no revision"


if __name__ == "__main__":
    main()
