"""The engines of a worker's database, each created on first use."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._engines.options import (
    Options,
    check_engine_options,
    explain_engine_errors,
    with_connect_args,
)
from pytest_pgtemplate._engines.pool import AsyncPooledEngine, SyncPooledEngine
from pytest_pgtemplate._engines.rollback import limit_lock_waits, nest_transactions


class Engines:
    """The async and sync engines of a database.

    ``options``: the user's keywords for the engines. ``lock_waits_limited()``: whether connections
    must not wait long for locks now. ``nested``: the engine for ``isolation="rollback"``. Raises
    ConfigurationError for options that cannot be used.
    """

    def __init__(
        self, url: URL, options: Options, lock_waits_limited: Callable[[], bool] = lambda: False
    ) -> None:
        check_engine_options(options)
        self._lock_waits_limited = lock_waits_limited
        self._url = url
        self._options = options
        self._async: dict[bool, AsyncPooledEngine] = {}
        self._sync: dict[bool, SyncPooledEngine] = {}

    def async_engine(self, *, nested: bool = False) -> AsyncPooledEngine:
        if nested not in self._async:
            with explain_engine_errors(self._options, nested=nested):
                pool = AsyncPooledEngine(_urls.async_url(self._url), self._options)
            limit_lock_waits(pool.engine.sync_engine, self._lock_waits_limited)
            if nested:
                nest_transactions(pool.engine.sync_engine)
                pool.follow(self.async_engine())
            self._async[nested] = pool
        return self._async[nested]

    def sync_engine(self, *, nested: bool = False) -> SyncPooledEngine:
        """Return the sync engine. Raises ConfigurationError also if no sync driver is installed."""
        if nested not in self._sync:
            url = _urls.sync_url(self._url)
            url_arguments = _urls.connect_args(self._url, _urls.driver_name(url))
            with explain_engine_errors(self._options, nested=nested):
                pool = SyncPooledEngine(url, with_connect_args(self._options, url_arguments))
            limit_lock_waits(pool.engine, self._lock_waits_limited)
            if nested:
                nest_transactions(pool.engine)
                pool.follow(self.sync_engine())
            self._sync[nested] = pool
        return self._sync[nested]

    def reset_sessions(self) -> None:
        """Reset the session of every connection that a test has used and returned."""
        for pool in (*self._async.values(), *self._sync.values()):
            pool.reset_sessions()

    def reset_idle_sessions(self) -> None:
        """The same, except for connections that shared fixtures still use."""
        for pool in (*self._async.values(), *self._sync.values()):
            pool.reset_idle_sessions()

    def close(self) -> None:
        """Close all connections, each in its event loop."""
        for pool in (*self._async.values(), *self._sync.values()):
            pool.close()
