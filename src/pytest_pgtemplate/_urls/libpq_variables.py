"""The environment variables that libpq, and drivers that imitate it, read besides the URL.

https://www.postgresql.org/docs/current/libpq-envars.html, without those that a URL of this plugin
always overrides (PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD), those that only name a client,
and those that only name the directory or file of PGSERVICE.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_pgtemplate._urls.drivers import LIBPQ, driver_name, libpq_query
from pytest_pgtemplate._urls.server_address import Query, parse

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_SESSION = ("PGCLIENTENCODING", "PGDATESTYLE", "PGTZ", "PGGEQO")  # only libpq reads them
_VARIABLES = (
    *("PGHOSTADDR", "PGSERVICE", "PGOPTIONS"),
    *("PGSSLMODE", "PGREQUIRESSL", "PGSSLNEGOTIATION", "PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT"),
    *("PGSSLCRL", "PGSSLCRLDIR", "PGSSLSNI", "PGSSLCERTMODE"),
    *("PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION"),
    *("PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION"),
    *("PGREQUIREAUTH", "PGREQUIREPEER", "PGCHANNELBINDING"),
    *("PGGSSENCMODE", "PGKRBSRVNAME", "PGGSSLIB", "PGGSSDELEGATION"),
    *("PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS", "PGCONNECT_TIMEOUT"),
    *_SESSION,
)
_PARAMETERS = {name.replace("_", ""): name for name in LIBPQ}
_hidden: dict[str, str] = {}


def applicable_names(url: URL) -> list[str]:
    """Return the names of the variables that apply to connections with ``url``."""
    query = libpq_query(url)
    hidden = {name for name, value in _as_query(_hidden).items() if query.get(name) == value}
    return [name for name in _VARIABLES if name in os.environ or _parameter(name) in hidden]


def add_to_url(url: str) -> str:
    """Return ``url`` with the parameters of the variables; its own parameters take precedence.

    A run needs this if it also uses the embedded server, which requires ``hide``. pg8000
    reads none of them.
    """
    address = parse(url)
    if driver_name(address) == "pg8000":
        return url
    return address.set(query={**_as_query(_in_environment()), **address.query}).render()


@contextmanager
def hide() -> Iterator[None]:
    """Remove the variables from the environment: they do not refer to the embedded server."""
    values = _in_environment()
    for name in values:
        del os.environ[name]
    _hidden.update(values)
    try:
        yield
    finally:
        _hidden.clear()
        os.environ.update(values)


def _in_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def _as_query(variables: dict[str, str]) -> Query:
    return {
        parameter: value
        for name, value in variables.items()
        if (parameter := _parameter(name)) and name not in _SESSION
    }


def _parameter(variable: str) -> str | None:
    return _PARAMETERS.get(variable.removeprefix("PG").replace("_", "").lower())
