"""The environment variables that libpq, and drivers that imitate it, read besides the URL.

https://www.postgresql.org/docs/current/libpq-envars.html, without those that a URL of this plugin
always overrides (PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD) and those that only name a client.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLES = (
    *("PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGOPTIONS"),
    *("PGSSLMODE", "PGREQUIRESSL", "PGSSLNEGOTIATION", "PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT"),
    *("PGSSLCRL", "PGSSLCRLDIR", "PGSSLSNI", "PGSSLCERTMODE"),
    *("PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION"),
    *("PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION"),
    *("PGREQUIREAUTH", "PGREQUIREPEER", "PGCHANNELBINDING"),
    *("PGGSSENCMODE", "PGKRBSRVNAME", "PGGSSLIB", "PGGSSDELEGATION"),
    *("PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS", "PGCONNECT_TIMEOUT"),
    *("PGCLIENTENCODING", "PGDATESTYLE", "PGTZ", "PGGEQO"),
)


def in_environment() -> list[str]:
    """The names of those that are set."""
    return [name for name in _VARIABLES if name in os.environ]


@contextmanager
def hidden() -> Iterator[None]:
    """Remove them from the environment: they refer to another server than the embedded one."""
    values = {name: os.environ.pop(name) for name in in_environment()}
    try:
        yield
    finally:
        os.environ.update(values)
