"""A worker's database over its life, and the sweep that drops what ended workers left behind."""

from pytest_pgtemplate._worker import sweep
from pytest_pgtemplate._worker.worker import Database, Worker

__all__ = ["Database", "Worker", "sweep"]
