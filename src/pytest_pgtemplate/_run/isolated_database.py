"""Isolate the tests of this process from each other, in one database."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytest_pgtemplate._internals import clocks
from pytest_pgtemplate._run import leftovers
from pytest_pgtemplate._run.context import RunContext, Teardown
from pytest_pgtemplate._run.fixture_layers import FixtureLayers
from pytest_pgtemplate._run.isolation import ScopeState, read_isolation
from pytest_pgtemplate._run.open_engines import OpenEngines
from pytest_pgtemplate._run.overrides import OverrideConflicts
from pytest_pgtemplate._run.resources import PreparedResources
from pytest_pgtemplate._run.stats import DatabaseStats
from pytest_pgtemplate._settings import fixture_name
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import PgTemplateError, ServerError, warn

if TYPE_CHECKING:
    from pytest_pgtemplate._reset import ResetResult, Resetter
    from pytest_pgtemplate._worker import WorkerDatabase

_log = logging.getLogger("pytest_pgtemplate")


class IsolatedDatabase:
    """A database by its ``name`` in ``pg_databases`` (``""``: the main database).

    It is created for the first test that requests it, and exists while ``worker`` is set.
    """

    def __init__(self, run: RunContext, name: str) -> None:
        self.run = run
        self.name = name
        self.settings = run.settings.for_database(name)
        self.stats = DatabaseStats(self.settings.identity.worker, name)
        self.layers = FixtureLayers(self)
        self.override_conflicts = OverrideConflicts()
        self.prepared = PreparedResources()
        self._worker: WorkerDatabase | None = None
        self._process = 0  # the process that set the worker
        self.used = False  # whether a test has requested it since the last reset
        self.teardown: Teardown | None = None  # of the test whose teardown runs
        self.state_unknown = False  # a reset or a re-clone failed; only a re-clone helps
        self.clone_is_due = False  # the last test needs one only if it is run again
        self._scope = ScopeState()  # of the tests since the last reset
        self.engines = OpenEngines()

    @property
    def worker(self) -> WorkerDatabase | None:
        """None unless this process has the database. A forked child uses that of its parent."""
        return self._worker if self._process == os.getpid() else None

    @worker.setter
    def worker(self, worker: WorkerDatabase | None) -> None:
        self._worker, self._process = worker, os.getpid()
        if worker is not None:
            self.state_unknown = self.clone_is_due = False
            self.layers.discard_lost()  # of the previous database, if a fixture was set up again

    def fixture_name(self, name: str) -> str:
        """Return the name of a fixture for this database."""
        return fixture_name(name, self.name)

    def reported_once(self, fixture: str) -> AbstractContextManager[None]:
        """Turn errors of ``fixture`` into one pytest failure per run; other tests skip."""
        return self.run.reports.reported_once(self.fixture_name(fixture))

    def prepare_test(self, item: pytest.Item) -> None:
        """Prepare the database for a test that needs it. ``pg_autouse`` adds only the name pg."""
        needed = getattr(item, "fixturenames", ())
        requests = any(self.fixture_name(name) in needed for name in ("pg", "pg_database"))
        if requests or ("request" in needed and self.needs_clone):
            self.mark_used()
        if self.used or "request" in needed:
            self.layers.lost.request_fixtures(item)

    def mark_used(self) -> None:
        """The current test has requested the database, directly or indirectly."""
        self.used = True
        if self.worker is None or not self.needs_clone:
            return
        try:
            if self.state_unknown:
                self._reclone(self.test, "a reset failed", removed=None)
            else:
                self._reclone(self.test, "a test runs again", self.layers.active.removed)
        except PgTemplateError as error:
            self.run.reports.fail_or_skip(error)

    def require_known_state(self, item: pytest.Item) -> None:
        """Raise ServerError for an unknown state, LayerError for wrong rows of wide fixtures."""
        if not self.used or self.worker is None:
            return
        if self.state_unknown:
            raise ServerError(
                f"the state of {self.worker.database.name} is unknown, because a reset failed",
                hint="see the error of the previous test",
            )
        self.layers.lost.require_none(item)
        self.layers.require_in_scope(item)

    @property
    def needs_clone(self) -> bool:
        """Whether the database must be replaced by a new clone before its next use."""
        return self.state_unknown or self.clone_is_due

    @property
    def resetter(self) -> Resetter | None:
        """The resetter, if the database exists and is not to be replaced."""
        return self.worker.resetter if self.worker is not None and not self.needs_clone else None

    @property
    def test(self) -> str:
        """The current test, for messages about what was written."""
        return self._scope.describe(self.run.current)

    @property
    def keeps_last_state(self) -> bool:
        """Whether to skip the reset after the last test: with --pg-keep, users want its rows."""
        is_last = self.teardown is not None and self.teardown.nextitem is None
        return is_last and self.settings.isolation.keep

    @property
    def keeps_writes(self) -> bool:
        """Whether the next test or fixture finds what was written, because no reset comes first."""
        if self.teardown is None:
            return True
        item, nextitem = self.teardown.item, self.teardown.nextitem
        self._scope.add(item, nextitem, self.settings.isolation)
        return nextitem is not None and (self._scope.continues or self._scope.kind == "none")

    def rolls_back(self, item: pytest.Item) -> bool:
        return read_isolation(item, self.settings.isolation).kind == "rollback"

    def finish_last_test(self) -> None:
        """Isolate the last test: the session fixtures are torn down before it ends."""
        if self.teardown is not None:
            self._isolate(self.teardown)
        elif self.run.current is not None:  # pytest sets up the database again, in the middle
            self._finish(Teardown(self.run.current, None))

    def finish_before_fixture_teardown(self) -> None:
        """Reset before the teardown of a wide fixture, to remove the writes of the test."""
        if self.teardown is not None and not self.teardown.isolated:
            self._isolate(self.teardown)

    def finish_teardown(self) -> list[PgTemplateError]:
        """Isolate the ending test from the next one, and return the errors.

        LeakError, SchemaChangedError, VerificationError, ServerError and LayerError.
        """
        teardown = self.teardown
        assert teardown is not None
        try:
            self._isolate(teardown)
            if (error := self.layers.lost.finish_fixtures()) is not None:
                teardown.errors.append(error)
                self._isolate(teardown)  # from what the teardown of these fixtures wrote
        finally:
            self.teardown = None
            self.engines.reset_sessions()  # unless a reset has done so
        return teardown.errors

    def _isolate(self, teardown: Teardown) -> None:
        """Isolate, or isolate again after the teardown of wide fixtures has written."""
        teardown.isolated = True
        try:
            self._finish(teardown)
        except PgTemplateError as error:
            teardown.errors.append(error)
        finally:
            if self.state_unknown:
                self.layers.discard_lost()

    def _finish(self, teardown: Teardown) -> None:
        if self.worker is None or self.needs_clone:
            self.used, self._scope = False, ScopeState()
            return
        item, nextitem = teardown.item, teardown.nextitem
        self._scope.add(item, nextitem, self.settings.isolation)
        if self._scope.continues:
            self.layers.remove_orphaned()
            return
        used, self.used = self.used, False
        scope, self._scope = self._scope, ScopeState()
        if used and self.settings.isolation.keep_failed and scope.failed is not None:
            self._set_aside(self.worker, scope.failed)
        elif self.keeps_last_state:
            self.clone_is_due = scope.kind != "none"
        elif used and scope.kind == "clone":
            if nextitem is not None or self.layers.active.owners:  # their teardown comes next
                self._reclone(item.nodeid, "isolation is clone", self.layers.active.removed)
            else:
                self.clone_is_due = True
        elif scope.kind != "none":
            self.reset(self.layers.active.removed, item.nodeid)
        elif self.layers.active.orphaned:  # "none" promises nothing about wide fixtures
            self.reset(self.layers.active.orphaned, item.nodeid)

    def reset(self, removed: list[int], node_id: str) -> None:
        """Reset the database and remove the layers ``removed``. ``node_id``: for messages."""
        assert self.worker is not None
        began = clocks.monotonic()
        with self.changing_state():
            result = self.worker.reset(removed, while_waiting=self.engines.reset_sessions)
        seconds = clocks.monotonic() - began
        self.stats.reset_time += seconds
        self.stats.resets += 1
        if self.run.timeline is not None:
            tables = self.worker.resetter.table_names(result.written)
            self.run.timeline.add("reset", node_id, seconds, tables=tables)
        different = None
        if result.reclone_reason is not None:
            self._reclone(node_id, result.reclone_reason, removed)
            self.stats.recloned.append(f"{node_id}: {result.reclone_reason}")
        else:
            self.layers.active.discard(removed)
            if result.differences:
                reclone = partial(self._reclone, node_id, "--pg-verify")
                different = leftovers.explain_by_reclone(self.worker, result.differences, reclone)
        self.report_leaks(result, node_id)
        if different is not None:
            raise different
        if result.reclone_reason is not None and self.settings.isolation.on_ddl == "error":
            raise leftovers.schema_error(result.reclone_reason, self._in_database(node_id))

    @contextmanager
    def changing_state(self) -> Iterator[None]:
        """If the body raises, the state of the database is unknown until the next re-clone."""
        self.state_unknown = True
        yield
        self.state_unknown = False

    def _in_database(self, node_id: str) -> str:
        return f"{node_id} (in {self.name})" if self.name else node_id

    def report_leaks(self, result: ResetResult, node_id: str) -> None:
        """Raise LeakError, or warn, if a reset or a layer had to end a transaction."""
        if result.leaks:
            if self.run.timeline is not None:
                leaks = "; ".join(map(str, result.leaks))
                self.run.timeline.add("leak", node_id, 0.0, what=leaks)
            error = leftovers.leak_error(result.leaks, self._in_database(node_id))
            if self.settings.isolation.on_leak == "error":
                raise error
            warn(str(error))

    def _reclone(self, node_id: str, reason: str, removed: Collection[int] | None = ()) -> None:
        assert self.worker is not None
        self._replace(self.worker.reclone, node_id, reason, removed)

    def _set_aside(self, worker: WorkerDatabase, test: str) -> None:
        name = database_names.kept(worker.database.name, len(self.stats.kept) + 1)
        self._replace(partial(worker.set_aside, name), test, "kept", self.layers.active.removed)
        self.stats.kept.append(f"{test}: {self.psql_command(name)}")

    def _replace(
        self,
        replace: Callable[[Collection[int] | None], bool],
        node_id: str,
        reason: str,
        removed: Collection[int] | None,
    ) -> None:
        """Replace the database by a new clone with its layers except ``removed``; None: none."""
        assert self.worker is not None
        began = clocks.monotonic()
        self.clone_is_due = False
        with self.changing_state():
            self.engines.close()
            with self.run.progress.step("re-cloning the template"):
                complete = replace(removed)
        seconds = clocks.monotonic() - began
        _log.info("re-cloned after %s (%s): %.3f s", node_id, reason, seconds)
        if self.run.timeline is not None:
            self.run.timeline.add("reclone", node_id, seconds, why=reason)
        if complete and removed is not None:
            self.layers.active.discard(removed)
        else:
            self.layers.discard_lost()
        if differences := self.worker.resetter.verify():
            raise leftovers.clone_error(differences)

    def psql_command(self, name: str) -> str:
        """Return a command that connects to database ``name``."""
        assert self.worker is not None
        if self.settings.url is not None:
            return self.worker.database.psql(name)
        # The embedded server stops after the run. `pgtemplate psql` starts it again.
        return f"pgtemplate {self.settings.server.command_line_options}psql {name}"
