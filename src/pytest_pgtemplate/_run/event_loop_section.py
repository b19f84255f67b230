"""A section in the report of a failed test, if it used a connection in another event loop."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import TracebackType

from pytest_pgtemplate._run.error_reporter import walk_causes

_TEXT = """\
A connection of asyncpg was opened in one event loop and used in another, which cannot work: it
raises "attached to a different loop", then "another operation is in progress". Usually an engine
that the application creates at import keeps connections, and each test has an event loop of its
own. Choose one of these remedies:
- add the application's sessionmaker or engine to pg_bind: pg_bind = ["myapp.db:SessionLocal"]
- run all tests in one event loop: asyncio_default_test_loop_scope = "session" and
  asyncio_default_fixture_loop_scope = "session"
"""


def event_loop_section(error: BaseException) -> str:
    """Return the cause and the remedies if the loops differ, else an empty string.

    The messages of asyncio and asyncpg do not identify this case, and they have no error class for
    it. So the connection and the loop are looked up in the traceback.
    """
    if "asyncpg" not in sys.modules:
        return ""
    from pytest_pgtemplate._internals.asyncio import running_loop_of_frame
    from pytest_pgtemplate._internals.asyncpg import connection_loop_of_frame

    frames = [
        entry.tb_frame for each in walk_causes(error) for entry in _entries(each.__traceback__)
    ]
    running = [loop for frame in frames if (loop := running_loop_of_frame(frame)) is not None]
    for frame in frames:
        loop = connection_loop_of_frame(frame)
        if loop is not None and (loop.is_closed() or (running and loop not in running)):
            return _TEXT
    return ""


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next
