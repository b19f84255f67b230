"""A conftest.py whose migrations succeed without an effect on the template's database."""

import sys

import pytest
from pytest_pgtemplate import Command, Metadata
from sqlalchemy import MetaData


class Mine:
    def fingerprint(self):
        yield b"mine"

    def migrate(self, target):
        pass


class Async(Mine):
    async def migrate(self, target):
        raise AssertionError


class Yields(Mine):
    def migrate(self, target):
        yield


@pytest.fixture(scope="session")
def pg_migrations():
    return MIGRATIONS
