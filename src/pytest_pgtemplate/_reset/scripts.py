"""Install the SQL functions and tables that resets use, in a template or in one session."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import NoReturn

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate._reset.snapshot import Seal, seal_state, state_sql
from pytest_pgtemplate._server import Connection, Server, connect, explain, load_sql, portal
from pytest_pgtemplate.errors import ConfigurationError, ServerError

BLOATED_CATALOGS = ("pg_attribute", "pg_class", "pg_depend", "pg_proc", "pg_trigger")
RELATIONS = "pgtemplate.relation"  # lists the user's tables, in a template
MANY = 1000  # rows of a table above which a reset avoids a full scan; docs/reset.md
LARGE = 512 * 1024  # bytes of growth above which a reset uses TRUNCATE; docs/reset.md


def installed_sql() -> bytes:
    """Return all SQL that ``install`` runs. It is part of the template's fingerprint."""
    scripts = files("pytest_pgtemplate._reset").iterdir()
    texts = sorted(f.read_text("utf-8") for f in scripts if f.name.endswith(".sql"))
    return "\0".join([str(LARGE), str(MANY), *texts, state_sql()]).encode()


def install(url: URL, tracking: str, *, timeout: float) -> str:
    """Record the current state of a template as the state that resets restore.

    ``tracking="scan"`` installs nothing, and neither does "auto" if the role may not create
    triggers. Returns the seal of the state, for the template's mark. Raises ConfigurationError if a
    schema ``pgtemplate`` exists, and ServerError, also after ``timeout`` seconds.
    """
    try:
        return portal.run(_install_in_template(url, tracking, timeout), timeout=timeout)
    except Exception as error:
        raise explain(error, url) from error


def uninstall(url: URL, tracking: str, state: str, *, timeout: float) -> bool:
    """Remove from a clone of a template what ``install`` added. Raises ServerError.

    ``state``: the seal that ``install`` returned. Returns False, and removes nothing, if a crash of
    the server has emptied the unlogged tables.
    """
    had_unlogged_rows = Seal.parse(state).unlogged_rows > 0
    if tracking == "scan" and not had_unlogged_rows:
        return True
    try:
        removing = _uninstall(url, tracking, had_unlogged_rows, timeout)
        return bool(portal.run(removing, timeout=timeout))
    except Exception as error:
        raise explain(error, url) from error


async def _uninstall(url: URL, tracking: str, had_unlogged_rows: bool, timeout: float) -> bool:
    connection = await connect(url, timeout=timeout, application="pytest-pgtemplate uninstall")
    try:
        await prepare_session(connection)
        if had_unlogged_rows:
            found = await connection.fetchrow(read_sql("installed"))
            if not found["unlogged_data"]:
                return False
        if tracking == "scan":  # a schema pgtemplate belongs to the user
            return True
        installed = "SELECT to_regclass('pgtemplate.intact') IS NOT NULL"
        if await connection.fetchval(installed) and not await is_intact(connection):
            return False
        await connection.execute(read_sql("uninstall"))
        # Otherwise the catalogs grow with each template that is built from another one.
        await connection.execute(f"VACUUM {', '.join(BLOATED_CATALOGS)}")
        return True
    finally:
        await connection.close()


def drop_damaged_template(server: Server, template: str) -> NoReturn:
    """Drop a template whose unlogged tables a crash has emptied, and raise ServerError."""
    server.drop(template)
    raise ServerError(
        f'template "{template}" lost the rows of its unlogged tables, because the server has'
        " crashed since it was built; it was dropped",
        hint="run again to build it",
    )


async def is_intact(connection: Connection) -> bool:
    """Return False if a crash of the server has emptied the tables of ``install``."""
    intact: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM pgtemplate.intact)")
    return intact


async def _install_in_template(url: URL, tracking: str, timeout: float) -> str:
    connection = await connect(url, timeout=timeout, application="pytest-pgtemplate install")
    try:
        replica = await prepare_session(connection)
        installed = tracking != "scan" and await _install_triggers(connection, tracking, replica)
        return str(await seal_state(connection, RELATIONS if installed else None))
    finally:
        await connection.close()


async def _install_triggers(connection: Connection, tracking: str, replica: bool) -> bool:
    """Return False if the role may not create triggers, and ``tracking`` does not require them."""
    try:
        await _install(connection, "triggers", replica=replica, schema="pgtemplate")
    except asyncpg.DuplicateSchemaError:
        raise ConfigurationError(
            "the migrations created a schema pgtemplate; the plugin needs this name",
            hint="rename your schema, or set pg_tracking = scan",
        ) from None
    except asyncpg.InsufficientPrivilegeError:
        if tracking == "triggers":
            raise
        return False
    return True


async def install_for_session(connection: Connection, *, replica: bool) -> None:
    """Install temporary functions and tables in one session, for tracking by scan."""
    await _install(connection, "scan", replica=replica, schema="pg_temp")


async def prepare_session(connection: Connection) -> bool:
    """Set what the SQL relies on. Returns False if the session may not act as a replica.

    In a replica session, no foreign key and no trigger of the user fires.
    """
    await connection.execute(read_sql("session"))
    # For the whole session: changing session_replication_role discards all cached plans.
    try:
        await connection.execute("SET session_replication_role = replica")
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


async def _install(connection: Connection, tracking: str, *, replica: bool, schema: str) -> None:
    major = connection.get_server_version().major
    names = [
        "baseline",
        "other_roles",
        tracking,
        "foreign_keys_disabled" if replica else "foreign_keys_enforced",
        "restore",
        "sequences_18" if major >= 18 else "sequences_14",
        "large_objects",
        "uncovered",
        "layer_tables",
        "add_layer",
        "remove_layers",
        "layer_dependencies",
        "save_layers",
        "open_transactions",
        "reset",
    ]
    async with connection.transaction():
        if schema == "pgtemplate":
            await connection.execute("CREATE SCHEMA pgtemplate")
        await connection.execute(_script(names, schema))
        await _install_ddl_tracking(connection, schema)


async def _install_ddl_tracking(connection: Connection, schema: str) -> None:
    """Call it last: from here on, every change of the schema is recorded."""
    if schema == "pgtemplate":
        with suppress(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await connection.execute(_script(["protect_own_tables", "ddl_events"], schema))
            return
    protection = ["protect_own_tables"] if schema == "pgtemplate" else []
    await connection.execute(_script(["ddl_catalog", *protection, "ddl_catalog_baseline"], schema))


def _script(names: list[str], schema: str) -> str:
    script = "\n".join(read_sql(name).replace("pgtemplate.", f"{schema}.") for name in names)
    return script.replace("UNLOGGED TABLE pg_temp", "TABLE pg_temp")


@cache
def read_sql(name: str) -> str:
    text = load_sql("_reset", name)
    return text.replace(":large", str(LARGE)).replace(":many", str(MANY))
