"""Where the connections of tests live: in the event loop that opened them, or in sync code.

``home`` is one such place and ``pool`` an engine over all of them; ``rollback`` makes
transactions that come to nothing. ``options`` are the user's keywords for engines and sessions.
``shared`` is for fixtures that many tests share. ``connections`` counts, where that is asked for.
"""

from pytest_pgtemplate._engines.connections import Connections
from pytest_pgtemplate._engines.options import async_sessions, sync_sessions
from pytest_pgtemplate._engines.pool import Pools, connect_on_use
from pytest_pgtemplate._engines.shared import Shared

__all__ = ["Connections", "Pools", "Shared", "async_sessions", "connect_on_use", "sync_sessions"]
