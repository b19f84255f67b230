"""The database of a worker: lease its name, take a spare or clone, reset, release or drop."""

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
    drop_damaged_template,
)
from pytest_pgtemplate._server import Kind, Server
from pytest_pgtemplate._template import Template
from pytest_pgtemplate._worker import spares
from pytest_pgtemplate._worker.spare_pool import SparePool
from pytest_pgtemplate.errors import PgTemplateError, ServerError


@dataclass(frozen=True)
class Database:
    """A worker's database, as the ``pg_database`` fixture returns it."""

    name: str
    url: URL
    template: Template

    @property
    def dsn(self) -> str:
        """A libpq URI, for psql, asyncpg, pg_dump and others."""
        return _urls.dsn(self.url)

    def psql(self, name: str) -> str:
        """Return a psql command, without a password, for database ``name`` on this server."""
        return f"psql '{_urls.dsn_without_passwords(self.url.set(database=name))}'"


class WorkerOptions(NamedTuple):
    """``keep``: the database stays when the run ends.

    ``verify``: each reset compares it with its expected state.
    """

    keep: bool = False
    verify: bool = False


_DEFAULT_OPTIONS = WorkerOptions()


class WorkerDatabase:
    """The database of one worker, from the lease of its name to its end.

    The lease is taken before the database exists, and lasts until this process ends. A sweep may
    drop every database without a lease. Every method raises ServerError.
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
            # Release first: a database without a mark counts as ours only if it has no lease.
            with suppress(PgTemplateError):
                server.release(name)
                server.drop(name)
            raise

    def is_clone_of(self, server: Server, template: Template) -> bool:
        """Whether this database is on ``server`` and was cloned from ``template``."""
        return self._server is server and self.database.template == template

    @property
    def tracking(self) -> str:
        """How writes are tracked: "triggers" or "scan"."""
        return self._resetter.tracking

    @property
    def event_triggers(self) -> bool:
        """Whether event triggers detect DDL; otherwise each reset compares the catalogs."""
        return self._resetter.event_triggers

    @property
    def stand_ins(self) -> list[str]:
        """The extensions that are the plugin's stand-ins."""
        return self._resetter.stand_ins

    @property
    def uncovered(self) -> list[str]:
        """The tables and sequences that no reset restores, because the role may not read them."""
        return self._resetter.uncovered

    @property
    def resetter(self) -> Resetter:
        """The resetter of the current clone; a re-clone creates a new one."""
        return self._resetter

    def reset(
        self, removed: Collection[int] = (), while_waiting: Callable[[], None] | None = None
    ) -> ResetResult:
        """Reset the database; see ``Resetter.reset``."""
        return self._resetter.reset(removed, while_waiting)

    def prepare(self, others: Collection[str]) -> None:
        """Clone spares in the background for ``others``, the names of other workers' databases."""
        self._spare_pool.fill_for(others)

    def reclone(self, removed: Collection[int] | None = ()) -> bool:
        """Replace the database by a new clone with its layers, except ``removed``; None: with none.

        Ends every connection to it. Returns False if the layers could not be saved.
        """
        return self._renew(partial(self._server.drop, self.database.name), removed)

    def set_aside(self, name: str, removed: Collection[int] | None = ()) -> bool:
        """Rename the database to ``name`` and keep it; replace it as in ``reclone``."""
        keep_aside = partial(self._server.keep_aside, self.database.name, name, self._mark)
        return self._renew(keep_aside, removed)

    def close(self, *, drop: bool = False) -> None:
        """Make the database a spare if it equals a new clone; otherwise, or if ``drop``, drop it.

        A database that the user keeps stays as it is.
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
        except PgTemplateError:  # its state is unknown, so it becomes no spare
            return False
        return result == "spare"

    def _compare_with_new_clone(self) -> list[Change]:
        """Return the changes from a new clone, which then becomes a spare for the next run."""
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

    def _renew(self, give_up: Callable[[], None], removed: Collection[int] | None) -> bool:
        layers, complete = None, True
        if removed is not None:
            try:
                layers = self._resetter.save_layers(removed)
            except ServerError:
                complete = False
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
                f'template "{template.name}" was removed from the server during this run',
                hint="run again to build it; another process may have pruned it",
            )
        if any(each.name == name for each in databases):
            self._server.drop(name)  # left by an ended process with the same name
        seal = Seal.parse(origin.state)
        self.relations = seal.relations  # tables and indexes of the template
        kind: Kind = "kept" if self._keep else "worker"
        self._mark = mark = spares.clone_mark(self._server, origin, kind, self._run)
        found = spares.list_spares(template.name, databases)
        # With pg_verify, a new clone rather than a spare: its content is the expected state.
        self.from_spare = not self._verify and spares.take_spare(self._server, found, name, mark)
        if not self.from_spare:
            self._server.clone(template.name, name, mark)
        url, timeout = self.database.url, self._server.timeout
        self._resetter = Resetter(url, timeout=timeout, verify=self._verify)
        lost_rows = seal.unlogged_rows and not self._resetter.unlogged_data
        if lost_rows or not self._resetter.intact:
            self._resetter.close()
            drop_damaged_template(self._server, template.name)
