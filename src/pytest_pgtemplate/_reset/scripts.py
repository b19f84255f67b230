"""Which SQL makes a database resettable, and how it gets there."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.resources import files

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate._reset.snapshot import seal_state, state_sql
from pytest_pgtemplate._server import Connection, connect, explain, load_sql, portal
from pytest_pgtemplate.errors import ConfigurationError

TOUCHED_CATALOGS = (
    "pg_attribute",
    "pg_class",
    "pg_depend",
    "pg_proc",
    "pg_trigger",
)  # what ours fill
RELATIONS = "pgtemplate.relation"  # the table of the user's tables, as templates have it
MANY = 1000  # rows of the state from which it pays not to look at them
LARGE = 512 * 1024  # bytes by which a table has to grow for TRUNCATE to pay; docs/reset.md


def installed_sql() -> bytes:
    """All that is installed: part of the fingerprint, as a template made by other SQL is stale."""
    scripts = files("pytest_pgtemplate._reset").iterdir()
    texts = sorted(f.read_text("utf-8") for f in scripts if f.name.endswith(".sql"))
    return "\0".join([str(LARGE), str(MANY), *texts, state_sql()]).encode()


def install(url: URL, tracking: str, *, timeout: float) -> str:
    """Make a template resettable: its present state is what every reset goes back to.

    ``scan`` leaves the database as it is; so does ``auto`` where the role may not create triggers.
    Returns the seal of that state, for the template's mark. Raises ConfigurationError when there
    is a schema of that name, and ServerError, also after ``timeout`` seconds.
    """
    try:
        return portal.run(_install_in_template(url, tracking, timeout), timeout=timeout)
    except Exception as error:
        raise explain(error, url) from error


def uninstall(url: URL, tracking: str, *, timeout: float) -> None:
    """Leave of a clone of a template what was there before ``install``. Raises ServerError."""
    if tracking != "scan":  # which has nothing there, and a schema of that name is the user's
        try:
            portal.run(_uninstall(url, timeout), timeout=timeout)
        except Exception as error:
            raise explain(error, url) from error


async def _uninstall(url: URL, timeout: float) -> None:
    connection = await connect(url, timeout=timeout, application="pytest-pgtemplate uninstall")
    try:
        await prepare_session(connection)
        await connection.execute(read_sql("uninstall"))
        # Else the catalogs grow with each template that is built from one that was.
        await connection.execute(f"VACUUM {', '.join(TOUCHED_CATALOGS)}")
    finally:
        await connection.close()


async def _install_in_template(url: URL, tracking: str, timeout: float) -> str:
    connection = await connect(url, timeout=timeout, application="pytest-pgtemplate install")
    try:
        replica = await prepare_session(connection)
        installed = tracking != "scan" and await _install_triggers(connection, tracking, replica)
        return str(await seal_state(connection, RELATIONS if installed else None))
    finally:
        await connection.close()


async def _install_triggers(connection: Connection, tracking: str, replica: bool) -> bool:
    """False: the role may not create triggers, and nothing has to be installed."""
    try:
        await _install(connection, "triggers", replica=replica, schema="pgtemplate")
    except asyncpg.DuplicateSchemaError:
        raise ConfigurationError(
            "the migrations made a schema pgtemplate, which this plugin makes for itself",
            hint="give yours another name",
        ) from None
    except asyncpg.InsufficientPrivilegeError:
        if tracking == "triggers":
            raise
        return False
    return True


async def install_for_session(connection: Connection, *, replica: bool) -> None:
    """The same in temporary objects of one session, without a write log: tracking by scan."""
    await _install(connection, "scan", replica=replica, schema="pg_temp")


async def prepare_session(connection: Connection) -> bool:
    """Give a session the settings that our SQL relies on. False: it may not act as a replica.

    As a replica no foreign key and no trigger of the user's gets in the way. It stays one: to go
    to and fro would throw away the session's query plans each time.
    """
    await connection.execute(read_sql("session"))
    try:
        await connection.execute("SET session_replication_role = replica")
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


async def _install(connection: Connection, tracking: str, *, replica: bool, schema: str) -> None:
    major = connection.get_server_version().major
    names = [
        "baseline",
        tracking,
        "keys_asleep" if replica else "keys_awake",
        "restore",
        "sequences_18" if major >= 18 else "sequences_13",
        "large_objects",
        "layers",
        "reset",
    ]
    async with connection.transaction():
        if schema == "pgtemplate":
            await connection.execute("CREATE SCHEMA pgtemplate")
        await connection.execute(_script(names, schema))
        await _install_ddl_tracking(connection, schema)


async def _install_ddl_tracking(connection: Connection, schema: str) -> None:
    """Last of all: from here on every change of the schema counts."""
    if schema == "pgtemplate":
        with suppress(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await connection.execute(_script(["ddl_events"], schema))
            return
    await connection.execute(_script(["ddl_catalog"], schema))


def _script(names: list[str], schema: str) -> str:
    return "\n".join(read_sql(name).replace("pgtemplate.", f"{schema}.") for name in names)


@cache
def read_sql(name: str) -> str:
    text = load_sql("_reset", name)
    return text.replace(":large", str(LARGE)).replace(":many", str(MANY))
