"""What we ask of a PostgreSQL server: create, clone, publish, drop, list, lock, lease.

``Server`` does it over one admin ``session``, in the thread of the ``portal``; ``marks`` tell which
databases are ours, and ``facts`` what a server and our role there are.
"""

from pytest_pgtemplate._server import portal
from pytest_pgtemplate._server.connection import CONNECTION_LOST, Connection, connect
from pytest_pgtemplate._server.connection_errors import explain
from pytest_pgtemplate._server.facts import PER_WORKER
from pytest_pgtemplate._server.marks import Kind, Mark, ServerDatabase, parse_mark
from pytest_pgtemplate._server.quoting import quote_literal
from pytest_pgtemplate._server.server import Server
from pytest_pgtemplate._server.sql_files import load_sql

__all__ = [
    "CONNECTION_LOST",
    "PER_WORKER",
    "Connection",
    "Kind",
    "Mark",
    "Server",
    "ServerDatabase",
    "connect",
    "event_loops",
    "explain",
    "file_locks",
    "load_sql",
    "parse_mark",
    "portal",
    "quote_literal",
]
