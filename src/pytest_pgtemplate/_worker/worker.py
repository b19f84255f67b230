"""A worker's database: claimed, cloned from the template, reset, cloned again, dropped."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._reset import Outcome, Resetter
from pytest_pgtemplate._server import Mark, Server
from pytest_pgtemplate._template import Template
from pytest_pgtemplate.errors import PgTemplateError, ServerError


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

    def psql(self, name: str) -> str:
        """A command line that connects to database ``name`` beside this one; no password in it."""
        return f"psql '{_urls.for_driver(self.url.set(database=name, password=None), None)}'"


class Worker:
    """The database of one worker over its whole life.

    The name is claimed before the database exists and until this process ends: a database of ours
    whose name nobody claims has no owner and may be swept. Every method raises ServerError.
    """

    def __init__(
        self, server: Server, template: Template, name: str, run: str, *, keep: bool = False
    ) -> None:
        self._server = server
        self._run = run
        self._keep = keep
        self.database = Database(name, server.url.set(database=name), template)
        server.lease(name)
        try:
            self._clone()
        except BaseException:
            # In this order: a database that has no mark yet is ours only when nobody claims it.
            with suppress(PgTemplateError):
                server.release(name)
                server.drop(name)
            raise

    @property
    def tracking(self) -> str:
        """How writes are noticed: "triggers" or "scan"."""
        return self._resetter.tracking

    @property
    def event_triggers(self) -> bool:
        """Whether they notice a changed schema; else each reset compares the catalogs."""
        return self._resetter.event_triggers

    def reset(self) -> Outcome:
        """Bring the database back to the template's state, as far as that goes without cloning."""
        return self._resetter.reset()

    def reclone(self) -> None:
        """Drop the database and clone it afresh under its name; ends every connection to it."""
        self._resetter.close()
        self._server.drop(self.database.name)
        self._clone()

    def set_aside(self, name: str) -> None:
        """Keep the database under another name, and go on with a fresh clone."""
        self._resetter.close()
        self._server.put_aside(self.database.name, name)
        self._clone()

    def close(self) -> None:
        """Drop the database, unless its mark says that a user wants it."""
        self._resetter.close()
        if not self._keep:
            self._server.drop(self.database.name)
        self._server.release(self.database.name)

    def _clone(self) -> None:
        template, name = self.database.template, self.database.name
        found = self._server.find(template.name)
        if found is None:
            raise ServerError(
                f'template "{template.name}" is gone from the server',
                hint="run again, which builds it; was it pruned, or the server made anew?",
            )
        origin = found.mark
        mark = Mark("kept" if self._keep else "worker", self._run, template.fingerprint)
        if origin is not None:
            mark = replace(mark, settings=origin.settings, grants=origin.grants)
        self._server.clone(template.name, name, mark)
        self._resetter = Resetter(self.database.url, timeout=self._server.timeout)
