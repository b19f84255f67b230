"""Where the connections of tests live: in the event loop that opened them, or in sync code.

``loop_pool`` holds the connections of one event loop and ``pool`` an engine over all of them.
``engines`` makes the engines of a database, and ``rollback`` transactions that are never committed.
``options`` are the user's keywords for engines and sessions.
``shared`` is for fixtures that many tests share. ``connections`` counts, where that is asked for.
"""

from pytest_pgtemplate._engines.connection_counter import ConnectionCounter
from pytest_pgtemplate._engines.engines import Engines
from pytest_pgtemplate._engines.options import async_sessions, sync_sessions
from pytest_pgtemplate._engines.shared import Shared

__all__ = [
    "ConnectionCounter",
    "Engines",
    "Shared",
    "async_sessions",
    "sync_sessions",
]
