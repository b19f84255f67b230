"""One database of this process: it is isolated from one test to the next."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytest_pgtemplate._run.fixture_layers import FixtureLayers
from pytest_pgtemplate._run.isolation import isolation_of
from pytest_pgtemplate._run.stats import DatabaseStats
from pytest_pgtemplate._settings import fixture_name
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import (
    ConfigurationError,
    LeakError,
    PgTemplateError,
    PgTemplateWarning,
    SchemaChangedError,
)

if TYPE_CHECKING:
    from pytest_pgtemplate._engines import Engines
    from pytest_pgtemplate._reset import Leak, ResetResult, Resetter
    from pytest_pgtemplate._run.context import RunContext
    from pytest_pgtemplate._worker import WorkerDatabase

_log = logging.getLogger("pytest_pgtemplate")
FAILED = pytest.StashKey[bool]()  # of an item: whether its setup or call failed


class Teardown:
    """A test in its teardown. ``isolated``: it was once, and ``error`` is what came of that."""

    def __init__(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        self.item = item
        self.nextitem = nextitem
        self.isolated = False
        self.error: PgTemplateError | None = None


class IsolatedDatabase:
    """A database by its ``name`` in ``pg_databases``; the main one has none.

    It exists from the first test that asks for it on, and as long as there is a ``worker``.
    """

    def __init__(self, run: RunContext, name: str) -> None:
        self.run = run
        self.name = name
        self.settings = run.settings.for_database(name)
        self.stats = DatabaseStats(self.settings.identity.worker, name)
        self.layers = FixtureLayers(self)
        self.override_conflict: ConfigurationError | None = None  # on what builds the template
        self.worker: WorkerDatabase | None = None  # while this process has the database
        self.used = False  # whether a test has asked for it since it was isolated
        self.teardown: Teardown | None = None  # the test whose teardown has begun
        self.lost = False  # the database is in an unknown state, for the server failed in a reset
        self._engines: list[Engines] = []  # what was opened to it
        self._test_engines: Engines | None = None  # those that each test finds as good as new

    def fixture_name(self, name: str) -> str:
        """What a fixture of the main database is called for this one."""
        return fixture_name(name, self.name)

    def reported_once(self, fixture: str) -> AbstractContextManager[None]:
        """Turn errors of ``fixture`` into one pytest failure per run; everybody else skips."""
        return self.run.reports.reported_once(self.fixture_name(fixture))

    def prepare_test(self, needed: Collection[str]) -> None:
        """A test begins, which needs these fixtures."""
        if self.fixture_name("pg_database") in needed:
            self.mark_used()

    def mark_used(self) -> None:
        """The test that runs has asked for it, straight or by the way."""
        self.used = True
        self.reclone_if_lost()

    @property
    def resetter(self) -> Resetter | None:
        """What knows the state of the database, while there is one and it is in a known state."""
        return None if self.worker is None or self.lost else self.worker.resetter

    @property
    def test(self) -> str:
        return f"test {self.run.current.nodeid}" if self.run.current is not None else "a test"

    @property
    def keeps_last_state(self) -> bool:
        """Whoever keeps a database wants to see what the last test left."""
        return (
            self.settings.isolation.keep
            and self.teardown is not None
            and self.teardown.nextitem is None
        )

    def reclone_if_lost(self) -> None:
        """Clone afresh what a reset could not save, or report why that fails, too."""
        if self.lost and self.worker is not None:
            try:
                self._reclone(self.worker, self.test, "a reset has failed")
            except PgTemplateError as error:
                self.run.reports.report(error)

    def rolls_back(self, item: pytest.Item) -> bool:
        return isolation_of(item, self.settings.isolation).kind == "rollback"

    @contextmanager
    def reset_after_tests(self, engines: Engines) -> Iterator[None]:
        """Make the connections of ``engines`` as good as new after each test."""
        self._test_engines = engines
        try:
            with self.closed_on_reclone(engines):
                yield
        finally:
            self._test_engines = None

    @contextmanager
    def closed_on_reclone(self, engines: Engines) -> Iterator[None]:
        """Close the connections of ``engines`` whenever the database is cloned afresh."""
        self._engines.append(engines)
        try:
            yield
        finally:
            self._engines.remove(engines)

    def finish_last_test(self) -> None:
        """The last test: its database goes with the session's fixtures, before that test ends."""
        if self.run.current is not None:
            self.teardown = self.teardown or Teardown(self.run.current, None)
            self._finish(self.teardown)

    def finish_before_fixture_teardown(self) -> None:
        """Shared data is about to go with its fixture: what the test that ends wrote goes first."""
        if self.teardown is not None and not self.teardown.isolated:
            try:
                self._finish(self.teardown)
            except PgTemplateError as error:
                self.teardown.error = error

    def finish_teardown(self) -> None:
        """Isolate the test that ends from what comes next.

        Raises LeakError, SchemaChangedError and ServerError.
        """
        teardown = self.teardown
        assert teardown is not None
        try:
            self._finish(teardown)
            if teardown.error is not None:
                raise teardown.error
        finally:
            self.teardown = None
            self._reset_sessions()  # unless a reset has done so

    def _finish(self, teardown: Teardown) -> None:
        """Once, and again for what was written since, by the teardown of shared fixtures."""
        teardown.isolated = True
        if self.worker is None or self.lost:
            return
        item, nextitem = teardown.item, teardown.nextitem
        isolation = isolation_of(item, self.settings.isolation, strict=False)
        if nextitem is not None:
            following = isolation_of(nextitem, self.settings.isolation, strict=False)
            if isolation.lasts(item, nextitem, following):
                return
        used, self.used = self.used, False
        if used and self.settings.isolation.keep_failed and item.stash.get(FAILED, False):
            self._set_aside(self.worker, item.nodeid)
        elif self.keeps_last_state:
            return
        elif used and isolation.kind == "clone":
            if nextitem is not None:
                self._reclone(self.worker, item.nodeid, "isolation is clone")
        elif isolation.kind != "none":
            self.reset(self.layers.removed, item.nodeid)

    def reset(self, removed: list[int], node_id: str) -> None:
        """Go back to the template and the layers that stay. ``node_id`` is for messages."""
        assert self.worker is not None
        began = time.perf_counter()
        self.lost = True
        result = self.worker.reset(removed, while_waiting=self._reset_sessions)
        self.lost = False
        seconds = time.perf_counter() - began
        self.stats.reset_time += seconds
        self.stats.resets += 1
        if self.run.timeline is not None:
            tables = self.worker.resetter.table_names(result.written)
            self.run.timeline.add("reset", node_id, seconds, tables=tables)
        if result.reclone_reason is not None:
            self._reclone(self.worker, node_id, result.reclone_reason, removed)
            self.stats.recloned.append(f"{node_id}: {result.reclone_reason}")
        else:
            self.layers.discard(removed)
        self.report_leaks(result, node_id)
        if result.reclone_reason is not None and self.settings.isolation.on_ddl == "error":
            raise SchemaChangedError(
                f"the database could not be reset after {self._in_database(node_id)}:"
                f" {result.reclone_reason}",
                hint="mark it @pytest.mark.pg(isolation='clone'), or set pg_on_ddl = reclone",
            )

    def _in_database(self, node_id: str) -> str:
        return f"{node_id} (in {self.name})" if self.name else node_id

    def _reset_sessions(self) -> None:
        if self._test_engines is not None:
            self._test_engines.reset_sessions()

    def report_leaks(self, result: ResetResult, node_id: str) -> None:
        """Raise LeakError, or warn, when a reset or a layer had to end a transaction."""
        if result.leaks:
            if self.run.timeline is not None:
                what = "; ".join(map(str, result.leaks))
                self.run.timeline.add("leak", node_id, 0.0, what=what)
            error = _leak_error(result.leaks, self._in_database(node_id))
            if self.settings.isolation.on_leak == "error":
                raise error
            warnings.warn(PgTemplateWarning(str(error)), stacklevel=1)

    def _reclone(
        self, worker: WorkerDatabase, node_id: str, reason: str, removed: Collection[int] = ()
    ) -> None:
        self._replace(worker.reclone, node_id, reason, removed)

    def _set_aside(self, worker: WorkerDatabase, test: str) -> None:
        name = database_names.kept(worker.database.name, len(self.stats.kept) + 1)
        self._replace(partial(worker.set_aside, name), test, "kept", self.layers.removed)
        self.stats.kept.append(f"{test}: {self.psql_command(name)}")

    def _replace(
        self,
        by: Callable[[Collection[int]], bool],
        node_id: str,
        reason: str,
        removed: Collection[int],
    ) -> None:
        """Go on with a new clone, to which the layers come along."""
        began = time.perf_counter()
        removed = {*removed, *self.layers.removed}
        self.lost = True
        for engines in self._engines:
            engines.close()
        with self.run.progress.step("cloning the template afresh"):
            complete = by(removed)
        self.lost = False
        seconds = time.perf_counter() - began
        _log.info("cloned afresh after %s (%s): %.3f s", node_id, reason, seconds)
        if self.run.timeline is not None:
            self.run.timeline.add("reclone", node_id, seconds, why=reason)
        if complete:
            self.layers.discard(removed)
        else:
            self.layers.mark_lost()

    def psql_command(self, name: str) -> str:
        """A command that connects; the embedded server has to be started again for it."""
        assert self.worker is not None
        settings = self.settings
        which = f"--bindir '{settings.server.bindir}' " if settings.server.bindir else ""
        which += f"--pg-version {settings.server.version} " if settings.server.version else ""
        which += "--listen " if settings.server.listen else ""
        embedded = settings.url is None
        return f"pgtemplate {which}psql {name}" if embedded else self.worker.database.psql(name)


def _leak_error(leaks: tuple[Leak, ...], node_id: str) -> LeakError:
    lines = "\n".join(f"  {leak}" for leak in leaks)
    return LeakError(
        f"{node_id} left open what the database could not be reset under; it was ended:\n{lines}",
        hint="commit, roll back or close it in the test or in the fixture that opened it"
        " (async with ..); pg_on_leak = warn makes this a warning",
    )
