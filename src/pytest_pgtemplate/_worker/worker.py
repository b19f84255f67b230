"""A worker's database: claimed, a spare or a clone of the template, reset, put back or dropped."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._reset import (
    Change,
    ResetResult,
    Resetter,
    Seal,
    changes_between,
    compare_states,
)
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._template import Template
from pytest_pgtemplate._worker import spares
from pytest_pgtemplate._worker.spare_pool import SparePool
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
        return f"psql '{_urls.dsn(_urls.without_password(self.url.set(database=name)))}'"


class WorkerOptions(NamedTuple):
    """``keep``: the database stays when the run ends.

    ``verify``: each reset compares it with its expected state.
    """

    keep: bool = False
    verify: bool = False


_DEFAULT_OPTIONS = WorkerOptions()


class WorkerDatabase:
    """The database of one worker over its whole life.

    The name is claimed before the database exists and until this process ends: a database of ours
    whose name nobody claims has no owner and may be swept. Every method raises ServerError.
    """

    def __init__(
        self,
        server: Server,
        template: Template,
        name: str,
        run: str,
        options: WorkerOptions = _DEFAULT_OPTIONS,
    ) -> None:
        self._server = server
        self._run = run
        self._keep = options.keep
        self._verify = options.verify
        self.changes: list[Change] = []  # why it became no spare
        self.database = Database(name, server.url.set(database=name), template)
        self._spare_pool = SparePool(server.url, template.name, run, timeout=server.timeout)
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

    @property
    def stand_ins(self) -> list[str]:
        """Extensions for which it has our stand-ins, instead of the real ones."""
        return self._resetter.stand_ins

    @property
    def resetter(self) -> Resetter:
        """What knows the layers of the database as it is now; a new clone has another."""
        return self._resetter

    def reset(
        self, removed: Collection[int] = (), while_waiting: Callable[[], None] | None = None
    ) -> ResetResult:
        """Bring the database back to its state, as far as that goes without cloning.

        ``while_waiting`` is called while the server is at work.
        """
        return self._resetter.reset(removed, while_waiting)

    def prepare(self, others: Collection[str]) -> None:
        """Clone in the background for ``others`` of the run, as long as they have not asked."""
        self._spare_pool.fill_for(others)

    def reclone(self, removed: Collection[int] = ()) -> bool:
        """Drop the database and get a new one of its name; ends every connection to it.

        It gets the layers that are up but those ``removed``. False: they could not be had any more.
        """
        return self._renew(partial(self._server.drop, self.database.name), removed)

    def set_aside(self, name: str, removed: Collection[int] = ()) -> bool:
        """Keep the database under another name, and go on with a fresh clone as in ``reclone``."""
        return self._renew(partial(self._server.keep_aside, self.database.name, name), removed)

    def close(self, *, drop: bool = False) -> None:
        """Leave the database to later runs as a spare if it is fit for that, else ``drop`` it.

        Neither, when its mark says that a user wants it.
        """
        self._spare_pool.close()
        if self._keep or drop or not self._give_back():
            self._resetter.close()
            if not self._keep:
                self._server.drop(self.database.name)
        self._server.release(self.database.name)

    def _give_back(self) -> bool:
        template, name = self.database.template.name, self.database.name
        try:
            result = spares.give_back(self._server, template, name, self._resetter)
            if result == "differs":
                self.changes = self._compare_with_new_clone()
        except PgTemplateError:  # whatever it is, it is not beyond doubt
            return False
        return result == "spare"

    def _compare_with_new_clone(self) -> list[Change]:
        """The next run would have to make that clone: it becomes a spare."""
        template = self._server.require_ours(self.database.template.name)
        assert template.mark is not None
        boundary = Seal.parse(template.mark.state).boundary
        with spares.new_clone(self._server, template, self._run) as name:
            clone = Resetter(self._server.url.set(database=name), timeout=self._server.timeout)
            try:
                expected = clone.read_state(boundary)
                actual = self._resetter.read_state(boundary)
                differences = compare_states(expected, actual, bookkeeping=True)
                details = (each.read_details(differences) for each in (clone, self._resetter))
                return changes_between(next(details), next(details), differences)
            finally:
                clone.close()

    def _renew(self, give_up: Callable[[], None], removed: Collection[int]) -> bool:
        try:
            layers, complete = self._resetter.save_layers(removed), True
        except ServerError:
            layers, complete = None, False
        self._resetter.close()
        give_up()
        self._spare_pool.wait()
        self._clone()
        self._spare_pool.refill()
        if layers is not None:
            self._resetter.load_layers(layers)
        return complete

    def _clone(self) -> None:
        template, name = self.database.template, self.database.name
        databases = self._server.databases()
        origin = next((each.mark for each in databases if each.name == template.name), None)
        if origin is None:
            raise ServerError(
                f'template "{template.name}" is gone from the server',
                hint="run again, which builds it; was it pruned, or the server made anew?",
            )
        mark = spares.clone_mark(
            self._server, origin, "kept" if self._keep else "worker", self._run
        )
        found = spares.list_spares(template.name, databases)
        # What is to be verified is compared with what it held at first: a clone, beyond doubt.
        self.from_spare = not self._verify and spares.take_spare(self._server, found, name, mark)
        if not self.from_spare:
            self._server.clone(template.name, name, mark)
        url, timeout = self.database.url, self._server.timeout
        self._resetter = Resetter(url, timeout=timeout, verify=self._verify)
