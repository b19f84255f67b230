"""Check ``pg_engine_options`` and ``pg_session_options``: some would break the isolation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, orm
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from pytest_pgtemplate.errors import ConfigurationError

Options = Mapping[str, Any]

_POOL_OPTIONS = frozenset({"creator", "async_creator", "max_overflow"})  # and pool*
_AUTOCOMMIT = "AUTOCOMMIT"


def check_engine_options(options: Options) -> None:
    """Raise ConfigurationError for keywords that configure the pool."""
    refused = [name for name in options if name.startswith("pool") or name in _POOL_OPTIONS]
    if refused:
        raise ConfigurationError(
            f"pg_engine_options contains {', '.join(refused)}: the plugin uses its own pool, to"
            " close what a test leaves open",
            hint="remove it; your own engine on pg_url can have any pool",
        )


@contextmanager
def explain_engine_errors(options: Options, *, nested: bool) -> Iterator[None]:
    """Wrap the creation of an engine. Raises ConfigurationError for options that it rejects."""
    execution: Options = options.get("execution_options", {})
    levels = {options.get("isolation_level"), execution.get("isolation_level")}
    if nested and _AUTOCOMMIT in levels:
        raise ConfigurationError(
            f"pg_engine_options contains isolation_level={_AUTOCOMMIT!r}, which cannot be rolled"
            " back",
            hint='use isolation="truncate" instead of "rollback"',
        )
    try:
        yield
    except TypeError as error:  # an unknown keyword
        raise ConfigurationError(
            f"pg_engine_options cannot be used: {error}",
            hint="it takes the keywords of create_async_engine and create_engine",
        ) from error


def with_connect_args(options: Options, url_arguments: dict[str, Any]) -> Options:
    """Add ``connect_args`` for the URL. The user's values take precedence."""
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
    """Return the keywords for a sessionmaker, without those of the other kind (sync or async)."""
    if "bind" in options:
        raise ConfigurationError(
            "pg_session_options contains bind: the plugin binds the sessions to the worker's"
            " database",
            hint="remove it; binds=.. can bind some tables to another engine",
        )
    kept = {name: value for name, value in options.items() if name != without}
    if not issubclass(kept.get("class_", base), base):
        del kept["class_"]
    return {"expire_on_commit": False, **kept}
