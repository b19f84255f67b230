"""A worker's database over its life, and the sweep that drops what ended workers left behind.

``spares`` is where databases go, and come from, that are as good as a new clone; ``stock`` makes
some ahead.
"""

from pytest_pgtemplate._worker import spares, sweep
from pytest_pgtemplate._worker.worker import Database, WorkerDatabase, WorkerOptions

__all__ = ["Database", "WorkerDatabase", "WorkerOptions", "spares", "sweep"]
