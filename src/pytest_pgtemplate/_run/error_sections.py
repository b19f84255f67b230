"""Sections in the report of a failed test. They name the cause if the error does not."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from pytest_pgtemplate._run.error_reporter import traceback_frames, walk_causes

_EVENT_LOOPS = """\
A connection of asyncpg was opened in one event loop and used in another, which cannot work: it
raises "attached to a different loop", then "another operation is in progress". Usually an engine
that the application creates at import keeps connections, and each test has an event loop of its
own. Choose one of these remedies:
- add the application's sessionmaker or engine to pg_bind: pg_bind = ["myapp.db:SessionLocal"]
- run all tests in one event loop: asyncio_default_test_loop_scope = "session" and
  asyncio_default_fixture_loop_scope = "session"
"""
_DRIVER = """\
A sync engine, from create_engine(), got a URL with the async driver {driver}. The URL of the
embedded server has the driver asyncpg by default. Choose one of these remedies:
- if the application is sync, select its driver: pg_driver = "psycopg". Installed sync drivers:
  {installed}
- if only one variable of pg_env needs another driver, add it there: NAME={{url:psycopg}}
- if pg_url contains the async driver, change it there
"""


def error_sections(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield the title and text of each section."""
    if "asyncpg" in sys.modules and _used_another_loop(error):
        yield "pgtemplate: event loops", _EVENT_LOOPS
    if "sqlalchemy.exc" in sys.modules and (driver := _async_driver_of_sync_engine(error)):
        from pytest_pgtemplate import _urls

        installed = ", ".join(_urls.installed_sync_drivers()) or "none"
        yield "pgtemplate: driver", _DRIVER.format(driver=driver, installed=installed)


def _used_another_loop(error: BaseException) -> bool:
    """Whether a connection was used in another event loop than its own.

    The messages of asyncio and asyncpg do not identify this case, and they have no error class for
    it. So the connection and the loop are looked up in the traceback.
    """
    from pytest_pgtemplate._internals.asyncio import running_loop_of_frame
    from pytest_pgtemplate._internals.asyncpg import connection_loop_of_frame

    frames = list(traceback_frames(error))
    running = [loop for frame in frames if (loop := running_loop_of_frame(frame)) is not None]
    for frame in frames:
        loop = connection_loop_of_frame(frame)
        if loop is None or loop in running:  # which asyncio.run() has closed since
            continue
        if running or loop.is_closed():
            return True
    return False


def _async_driver_of_sync_engine(error: BaseException) -> str | None:
    """Return the async driver of the sync engine that failed because of it, else None.

    ``MissingGreenlet`` has other causes, for example a lazy load in an ``AsyncSession``. So the
    engine that opened the connection is looked up in the traceback.
    """
    from sqlalchemy.exc import MissingGreenlet

    if not any(isinstance(each, MissingGreenlet) for each in walk_causes(error)):
        return None
    from pytest_pgtemplate._internals.sqlalchemy import sync_engine_of_frame

    engines = filter(None, map(sync_engine_of_frame, traceback_frames(error)))
    return next((engine.driver for engine in engines if engine.dialect.is_async), None)
