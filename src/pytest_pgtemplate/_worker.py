"""This worker's database: claimed, cloned from the template, dropped at the end."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._marks import Mark
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._template import Template


@dataclass(frozen=True)
class Database:
    """A worker's database, as the ``pg_database`` fixture gives it."""

    name: str
    url: URL
    template: Template

    @property
    def dsn(self) -> str:
        """A plain libpq URI, for psql, asyncpg, pg_dump and others."""
        return _urls.dsn(self.url)


def clone(server: Server, template: Template, name: str, run: str) -> Database:
    """Claim ``name`` and clone ``template`` into it.

    The claim comes first: a database of ours without one has no owner and may be swept.
    """
    server.lease(name)
    found = server.find(template.name)
    inherited = found.mark if found is not None else None
    mark = Mark(
        "worker",
        run,
        template.fingerprint,
        settings=inherited.settings if inherited else (),
        grants=inherited.grants if inherited else None,
    )
    server.clone(template.name, name, mark)
    return Database(name, server.url.set(database=name), template)


def drop(server: Server, database: Database) -> None:
    server.drop(database.name)
    server.release(database.name)


def keep(server: Server, database: Database) -> None:
    """Give the database up without dropping it: its mark says that a user wanted it kept."""
    server.remark(database.name, "kept")
    server.release(database.name)
