"""The SQLAlchemy engines that the fixtures give to tests.

``loop_pool`` holds the connections of one event loop (or of sync code), and ``pool`` has the engine
for all loops. ``engines`` makes the engines of a database, ``rollback`` nests transactions in one
that is never committed, ``options`` checks the user's keywords, and ``recorded_sessions`` empties
the sessions of a test. ``shared`` is the object behind ``pg_shared``. ``bindings`` and
``application_engine`` are for the sessionmakers and engines of the application, with ``pg_bind``.
``connection_counter`` counts open connections for ``--pg-stats``.
"""

from pytest_pgtemplate._engines.bindings import Bind, Bindings
from pytest_pgtemplate._engines.connection_counter import ConnectionCounter
from pytest_pgtemplate._engines.engines import Engines
from pytest_pgtemplate._engines.options import async_sessions, sync_sessions
from pytest_pgtemplate._engines.recorded_sessions import emptied
from pytest_pgtemplate._engines.rollback import lock_wait_hints
from pytest_pgtemplate._engines.shared import Shared

__all__ = [
    "Bind",
    "Bindings",
    "ConnectionCounter",
    "Engines",
    "Shared",
    "async_sessions",
    "emptied",
    "lock_wait_hints",
    "sync_sessions",
]
