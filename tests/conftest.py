"""What all tests of this project share: child pytest runs, and a PostgreSQL server."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from importlib import import_module

import pytest

from pytest_pgtemplate import _embedded
from pytest_pgtemplate._worker import sweep

pytest_plugins = [
    "pytester",
    "support.selection",
    "support.memory",
    "support.forked_python",
    "support.slowest_files",
    "support.projects",
    "support.servers",
    "support.browser",
    "support.clients",
    "support.databases",
    "support.pooled_engines",
]

collect_ignore = ["programs"]  # child runs execute them

os.environ.pop("CI", None)  # pytest's summary is longer there: child runs shall look the same

# Hundreds of child runs import the same modules.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A run in this process forgets what it has imported. Not everything can be imported twice.
for name in (
    "alembic.command",
    "hypothesis",
    "psycopg",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
):
    import_module(name)


def pytest_collection_finish() -> None:
    """Leave the items out of the garbage collections that follow each run in this process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)  # otherwise one collection for each 700 objects, or 2,000


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Hypothesis, imported for the summary, calls ``gc.get_referrers``, which ignores them."""
    gc.unfreeze()


@pytest.fixture
def pytester(
    pytester: pytest.Pytester, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """Child runs are without the plugins that this run is without."""
    off = [option for option in pytestconfig.getini("addopts") if option.startswith("-pno:")]
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(off))
    return pytester


@pytest.fixture(autouse=True)
def short_reconnect_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sweeps in this process wait only briefly for runs that have lost their connection."""
    monkeypatch.setattr(sweep, "RECONNECT_TIME", 0.05)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The server that PGTEMPLATE_URL names, else the embedded one, held for the whole session.

    That is PostgreSQL 18, or what PGTEMPLATE_TEST_VERSION says: ``tox run -e pg14``.
    """
    given = os.environ.get("PGTEMPLATE_URL")
    if given is not None:
        yield given
        return
    version = os.environ.get("PGTEMPLATE_TEST_VERSION")
    handle = _embedded.acquire(None, int(version) if version else None, timeout=60)
    yield handle.url
    handle.close()
