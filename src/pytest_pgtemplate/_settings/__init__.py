"""Read options, environment variables and configuration files into one frozen ``Settings``.

``options`` declares the options, ``database_options`` those of each database, and ``worker_input``
carries what the controller of an xdist run sends to its workers.
"""

from pytest_pgtemplate._settings.fixture_names import fixture_name, is_fixture_name
from pytest_pgtemplate._settings.settings import (
    Settings,
    for_workers,
    read,
    wants_environment,
)
from pytest_pgtemplate._settings.topics import IsolationSettings, RunIdentity, cache

__all__ = [
    "IsolationSettings",
    "RunIdentity",
    "Settings",
    "cache",
    "database_options",
    "fixture_name",
    "for_workers",
    "is_fixture_name",
    "options",
    "read",
    "slots",
    "wants_environment",
    "worker_input",
]
