"""The database of a worker, and the sweep of databases that ended workers left behind.

``worker`` clones, resets and drops the database, ``spares`` keeps databases for later runs,
``spare_pool`` clones spares in the background, and ``sweep`` drops databases without an owner.
"""

from pytest_pgtemplate._worker import spares, sweep
from pytest_pgtemplate._worker.worker import Database, WorkerDatabase, WorkerOptions

__all__ = ["Database", "WorkerDatabase", "WorkerOptions", "spares", "sweep"]
