"""The engines of a worker's database, each made when a fixture first asks for it."""

from __future__ import annotations

from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._engines.options import (
    Options,
    check_engine_options,
    explain_engine_errors,
    with_connect_args,
)
from pytest_pgtemplate._engines.pool import AsyncPooledEngine, SyncPooledEngine
from pytest_pgtemplate._engines.rollback import nest_transactions


class Engines:
    """The pools of a worker's database, each made when it is first asked for.

    ``options`` are the user's keywords for the engines. ``nested``: one whose connections live in a
    transaction that is never committed. Raises ConfigurationError for options that cannot be used.
    """

    def __init__(self, url: URL, options: Options) -> None:
        check_engine_options(options)
        self._url = url
        self._options = options
        self._async: dict[bool, AsyncPooledEngine] = {}
        self._sync: dict[bool, SyncPooledEngine] = {}

    def async_engine(self, *, nested: bool = False) -> AsyncPooledEngine:
        if nested not in self._async:
            with explain_engine_errors(self._options, nested=nested):
                pool = AsyncPooledEngine(_urls.async_url(self._url), self._options)
            if nested:
                nest_transactions(pool.engine.sync_engine)
            self._async[nested] = pool
        return self._async[nested]

    def sync_engine(self, *, nested: bool = False) -> SyncPooledEngine:
        """Raises ConfigurationError also when no sync driver is installed."""
        if nested not in self._sync:
            url = _urls.sync_url(self._url)
            url_arguments = _urls.connect_args(self._url, _urls.driver_name(url))
            with explain_engine_errors(self._options, nested=nested):
                pool = SyncPooledEngine(url, with_connect_args(self._options, url_arguments))
            if nested:
                nest_transactions(pool.engine)
            self._sync[nested] = pool
        return self._sync[nested]

    def reset_sessions(self) -> None:
        """Make every connection that a test has used as good as new, once it has closed them."""
        for pool in (*self._async.values(), *self._sync.values()):
            pool.reset_sessions()

    def close(self) -> None:
        """Close all connections, wherever they live."""
        for pool in (*self._async.values(), *self._sync.values()):
            pool.close()
