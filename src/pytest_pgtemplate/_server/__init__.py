"""What we ask of a PostgreSQL server: create, clone, publish, drop, list, lock, lease.

``Server`` does it over one admin ``session``, in the thread of the ``portal``; ``marks`` tell which
databases are ours, and ``facts`` what a server and our role there are.
"""

from pytest_pgtemplate._server import portal
from pytest_pgtemplate._server.connection import LOST, Connection, connect, explain
from pytest_pgtemplate._server.facts import PER_WORKER
from pytest_pgtemplate._server.marks import Database, Kind, Mark
from pytest_pgtemplate._server.marks import loads as mark_of
from pytest_pgtemplate._server.quoting import quote_literal
from pytest_pgtemplate._server.server import Server

__all__ = [
    "LOST",
    "PER_WORKER",
    "Connection",
    "Database",
    "Kind",
    "Mark",
    "Server",
    "connect",
    "event_loops",
    "explain",
    "file_locks",
    "mark_of",
    "portal",
    "quote_literal",
]
