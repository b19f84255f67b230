"""The user's keywords for engines and sessions, and those that would end the isolation of tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, orm
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from pytest_pgtemplate.errors import ConfigurationError

Options = Mapping[str, Any]

_POOL_OPTIONS = frozenset({"creator", "async_creator", "max_overflow"})  # and all of pool..
_AUTOCOMMIT = "AUTOCOMMIT"


def check_engine_options(options: Options) -> None:
    """Raise ConfigurationError for keywords that decide where connections live."""
    taken = [name for name in options if name.startswith("pool") or name in _POOL_OPTIONS]
    if taken:
        raise ConfigurationError(
            f"pg_engine_options gives {', '.join(taken)}: the plugin keeps the connections itself,"
            " to close what a test leaves open",
            hint="leave it out; an engine of your own on pg_url can have any pool",
        )


@contextmanager
def explain_engine_errors(options: Options, *, nested: bool) -> Iterator[None]:
    """Around the making of an engine: raise ConfigurationError for what it cannot be made with."""
    execution: Options = options.get("execution_options", {})
    levels = {options.get("isolation_level"), execution.get("isolation_level")}
    if nested and _AUTOCOMMIT in levels:
        raise ConfigurationError(
            f"pg_engine_options gives isolation_level={_AUTOCOMMIT!r}, and nothing could be rolled"
            " back",
            hint='isolate the test with "truncate" instead of "rollback"',
        )
    try:
        yield
    except TypeError as error:  # SQLAlchemy's, for a keyword that it does not know
        raise ConfigurationError(
            f"pg_engine_options cannot be used: {error}",
            hint="it takes the keywords of create_async_engine and create_engine",
        ) from error


def with_connect_args(options: Options, url_arguments: dict[str, Any]) -> Options:
    """Add what the URL wants of ``connect``; the user's own word counts."""
    return {**options, "connect_args": {**url_arguments, **options.get("connect_args", {})}}


def async_sessions(engine: AsyncEngine, options: Options) -> async_sessionmaker[AsyncSession]:
    """Raises ConfigurationError for options that cannot be used."""
    return async_sessionmaker(engine, **_session_keywords(AsyncSession, options))


def sync_sessions(engine: Engine, options: Options) -> orm.sessionmaker[orm.Session]:
    """Raises ConfigurationError for options that cannot be used."""
    return orm.sessionmaker(
        engine, **_session_keywords(orm.Session, options, without="sync_session_class")
    )


def _session_keywords(base: type, options: Options, *, without: str = "") -> dict[str, Any]:
    """Keywords of the other kind of session are left out: a class has one kind."""
    if "bind" in options:
        raise ConfigurationError(
            "pg_session_options gives bind: the sessions of the fixtures are bound to a worker's"
            " database",
            hint="leave it out; binds=.. may send some tables elsewhere",
        )
    kept = {name: value for name, value in options.items() if name != without}
    if not issubclass(kept.get("class_", base), base):
        del kept["class_"]
    return {"expire_on_commit": False, **kept}
