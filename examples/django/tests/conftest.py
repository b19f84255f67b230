import sys
from pathlib import Path

import pytest
from django.test import TestCase, TransactionTestCase

from pytest_pgtemplate import Command

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def pg_migrations():
    files = ROOT.glob("catalog/migrations/*.py")
    return Command(sys.executable, "manage.py", "migrate", files=files, cwd=ROOT)


@pytest.fixture(scope="session")
def pg_billing_migrations():
    files = ROOT.glob("billing/migrations/*.py")
    return Command(
        sys.executable, "manage.py", "migrate", "--database=billing", files=files, cwd=ROOT
    )


@pytest.fixture(scope="session")
def django_db_setup(pg_database, pg_billing_database):
    """Nothing to set up: the databases in the settings are those that the plugin has cloned."""


@pytest.fixture(scope="session", autouse=True)
def isolation_by_the_plugin():
    """Django's own isolation is switched off: no transactions around tests, and no flush."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: None)
        patch.setattr(TransactionTestCase, "_reset_sequences", staticmethod(lambda _: None))
        patch.setattr(TestCase, "_enter_atomics", staticmethod(dict))
        patch.setattr(TestCase, "_rollback_atomics", staticmethod(lambda _: None))
        yield
