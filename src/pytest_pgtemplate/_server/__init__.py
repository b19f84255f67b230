"""Administer a PostgreSQL server: create, clone, publish, drop and list databases; lock and lease.

``Server`` does this over one admin ``session``, in the thread of the ``portal``. ``marks`` identify
the plugin's databases. ``facts`` describe the server and the role.
"""

from pytest_pgtemplate._server import clocks, portal
from pytest_pgtemplate._server.connection import CONNECTION_LOST, Connection, connect
from pytest_pgtemplate._server.connection_errors import explain
from pytest_pgtemplate._server.facts import PER_WORKER
from pytest_pgtemplate._server.marks import Kind, Mark, ServerDatabase, parse_mark
from pytest_pgtemplate._server.prepared_transactions import roll_back_prepared
from pytest_pgtemplate._server.quoting import quote_identifier, quote_literal
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
    "clocks",
    "connect",
    "event_loops",
    "explain",
    "file_locks",
    "forks",
    "load_sql",
    "parse_mark",
    "portal",
    "quote_identifier",
    "quote_literal",
    "roll_back_prepared",
]
