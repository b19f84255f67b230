"""The object that ``pg_shared`` returns: engines for fixtures that many tests share."""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import Engine, orm
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from pytest_pgtemplate import _urls
from pytest_pgtemplate._engines.engines import Engines
from pytest_pgtemplate._engines.options import Options, async_sessions, sync_sessions


class Shared:
    """This worker's database, for fixtures wider than ``function``, in any event loop.

    The plugin does not close what such a fixture opens. ``sync_engine`` and ``sync_sessionmaker``
    raise ConfigurationError if no sync driver is installed.
    """

    def __init__(self, engines: Engines, sessions: Options, url: str, dsn: str) -> None:
        self._engines = engines
        self._sessions = sessions
        self.url = url
        self.dsn = dsn

    def __repr__(self) -> str:
        return f"<Shared: {_urls.parse(self.url)!r}>"

    @cached_property
    def engine(self) -> AsyncEngine:
        return self._engines.async_engine().engine_for_test()

    @cached_property
    def sessionmaker(self) -> async_sessionmaker[AsyncSession]:
        """With ``expire_on_commit=False``."""
        return async_sessions(self.engine, self._sessions)

    @cached_property
    def sync_engine(self) -> Engine:
        return self._engines.sync_engine().engine_for_test()

    @cached_property
    def sync_sessionmaker(self) -> orm.sessionmaker[orm.Session]:
        """With ``expire_on_commit=False``."""
        return sync_sessions(self.sync_engine, self._sessions)
