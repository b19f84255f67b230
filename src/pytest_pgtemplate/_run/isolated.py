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

from pytest_pgtemplate._run.isolation import isolation_of
from pytest_pgtemplate._run.layers import Layers
from pytest_pgtemplate._run.stats import Stats
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
    from pytest_pgtemplate._engines import Pools
    from pytest_pgtemplate._reset import Leak, Outcome, Resetter
    from pytest_pgtemplate._run.run import Run
    from pytest_pgtemplate._worker import Worker

_log = logging.getLogger("pytest_pgtemplate")
FAILED = pytest.StashKey[bool]()  # of an item: whether its setup or call failed


class Ending:
    """A test in its teardown. ``isolated``: it was once, and ``error`` is what came of that."""

    def __init__(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        self.item = item
        self.nextitem = nextitem
        self.isolated = False
        self.error: PgTemplateError | None = None


class Isolated:
    """A database by its ``name`` in ``pg_databases``; the main one has none.

    It exists from the first test that asks for it on, and as long as there is a ``worker``.
    """

    def __init__(self, run: Run, name: str) -> None:
        self.run = run
        self.name = name
        self.settings = run.settings.of(name)
        self.stats = Stats(self.settings.worker, name)
        self.layers = Layers(self)
        self.disagreement: ConfigurationError | None = None  # on what builds the template
        self.worker: Worker | None = None  # while this process has the database
        self.reached = False  # whether a test has asked for it since it was isolated
        self.ending: Ending | None = None  # the test whose teardown has begun
        self.lost = False  # the database is in an unknown state, for the server failed in a reset
        self._pools: list[Pools] = []  # what was opened to it
        self._pools_of_tests: Pools | None = None  # those that each test finds as good as new

    def fixture(self, name: str) -> str:
        """What a fixture of the main database is called for this one."""
        return fixture_name(name, self.name)

    def once(self, fixture: str) -> AbstractContextManager[None]:
        """Turn errors of ``fixture`` into one pytest failure per run; everybody else skips."""
        return self.run.reports.once(self.fixture(fixture))

    def prepare(self, needed: Collection[str]) -> None:
        """A test begins, which needs these fixtures."""
        if self.fixture("pg_database") in needed:
            self.reach()

    def reach(self) -> None:
        """The test that runs has asked for it, straight or by the way."""
        self.reached = True
        self.renew()

    @property
    def resetter(self) -> Resetter | None:
        """What knows the state of the database, while there is one and it is in a known state."""
        return None if self.worker is None or self.lost else self.worker.resetter

    @property
    def test(self) -> str:
        return f"test {self.run.current.nodeid}" if self.run.current is not None else "a test"

    @property
    def shows_last_test(self) -> bool:
        """Whoever keeps a database wants to see what the last test left."""
        return self.settings.keep and self.ending is not None and self.ending.nextitem is None

    def renew(self) -> None:
        """Clone afresh what a reset could not save, or report why that fails, too."""
        if self.lost and self.worker is not None:
            try:
                self._reclone(self.worker, self.test, "a reset has failed")
            except PgTemplateError as error:
                self.run.reports.report(error)

    def rolls_back(self, item: pytest.Item) -> bool:
        return isolation_of(item, self.settings).kind == "rollback"

    @contextmanager
    def for_tests(self, pools: Pools) -> Iterator[None]:
        """Make the connections of ``pools`` as good as new after each test."""
        self._pools_of_tests = pools
        try:
            with self.forgetting(pools):
                yield
        finally:
            self._pools_of_tests = None

    @contextmanager
    def forgetting(self, pools: Pools) -> Iterator[None]:
        """Close the connections of ``pools`` whenever the database is cloned afresh."""
        self._pools.append(pools)
        try:
            yield
        finally:
            self._pools.remove(pools)

    def finish_last(self) -> None:
        """The last test: its database goes with the session's fixtures, before that test ends."""
        if self.run.current is not None:
            self.ending = self.ending or Ending(self.run.current, None)
            self._finish(self.ending)

    def finish_early(self) -> None:
        """Shared data is about to go with its fixture: what the test that ends wrote goes first."""
        if self.ending is not None and not self.ending.isolated:
            try:
                self._finish(self.ending)
            except PgTemplateError as error:
                self.ending.error = error

    def finish(self) -> None:
        """Isolate the test that ends from what comes next.

        Raises LeakError, SchemaChangedError and ServerError.
        """
        ending = self.ending
        assert ending is not None
        try:
            self._finish(ending)
            if ending.error is not None:
                raise ending.error
        finally:
            self.ending = None
            self._put_right()  # unless a reset has done so

    def _finish(self, ending: Ending) -> None:
        """Once, and again for what was written since, by the teardown of shared fixtures."""
        ending.isolated = True
        if self.worker is None or self.lost:
            return
        item, nextitem = ending.item, ending.nextitem
        isolation = isolation_of(item, self.settings, strict=False)
        if nextitem is not None:
            following = isolation_of(nextitem, self.settings, strict=False)
            if isolation.lasts(item, nextitem, following):
                return
        reached, self.reached = self.reached, False
        if reached and self.settings.keep_failed and item.stash.get(FAILED, False):
            self._set_aside(self.worker, item.nodeid)
        elif self.shows_last_test:
            return
        elif reached and isolation.kind == "clone":
            if nextitem is not None:
                self._reclone(self.worker, item.nodeid, "isolation is clone")
        elif isolation.kind != "none":
            self.reset(self.layers.going, item.nodeid)

    def reset(self, going: list[int], whose: str) -> None:
        """Go back to the template and the layers that stay. ``whose``: what made this necessary."""
        assert self.worker is not None
        began = time.perf_counter()
        self.lost = True
        outcome = self.worker.reset(going, meanwhile=self._put_right)
        self.lost = False
        seconds = time.perf_counter() - began
        self.stats.reset_time += seconds
        self.stats.resets += 1
        if self.run.timeline is not None:
            tables = self.worker.resetter.names(outcome.written)
            self.run.timeline.add("reset", whose, seconds, tables=tables)
        if outcome.stale is not None:
            self._reclone(self.worker, whose, outcome.stale, going)
            self.stats.recloned.append(f"{whose}: {outcome.stale}")
        else:
            self.layers.have_gone(going)
        self.judge_leaks(outcome, whose)
        if outcome.stale is not None and self.settings.on_ddl == "error":
            raise SchemaChangedError(
                f"the database could not be reset after {self._in(whose)}: {outcome.stale}",
                hint="mark it @pytest.mark.pg(isolation='clone'), or set pg_on_ddl = reclone",
            )

    def _in(self, whose: str) -> str:
        return f"{whose} (in {self.name})" if self.name else whose

    def _put_right(self) -> None:
        if self._pools_of_tests is not None:
            self._pools_of_tests.put_right()

    def judge_leaks(self, outcome: Outcome, whose: str) -> None:
        """Raise LeakError, or warn, when a reset or a layer had to end a transaction."""
        if outcome.leaks:
            if self.run.timeline is not None:
                what = "; ".join(map(str, outcome.leaks))
                self.run.timeline.add("leak", whose, 0.0, what=what)
            error = _leak_error(outcome.leaks, self._in(whose))
            if self.settings.on_leak == "error":
                raise error
            warnings.warn(PgTemplateWarning(str(error)), stacklevel=1)

    def _reclone(self, worker: Worker, whose: str, why: str, going: Collection[int] = ()) -> None:
        self._replace(worker.reclone, whose, why, going)

    def _set_aside(self, worker: Worker, test: str) -> None:
        name = database_names.kept(worker.database.name, len(self.stats.kept) + 1)
        self._replace(partial(worker.set_aside, name), test, "kept", self.layers.going)
        self.stats.kept.append(f"{test}: {self.psql(name)}")

    def _replace(
        self, by: Callable[[Collection[int]], bool], whose: str, why: str, going: Collection[int]
    ) -> None:
        """Go on with a new clone, to which the layers come along."""
        began = time.perf_counter()
        going = {*going, *self.layers.going}
        self.lost = True
        for pools in self._pools:
            pools.close()
        with self.run.progress.showing("cloning the template afresh"):
            complete = by(going)
        self.lost = False
        seconds = time.perf_counter() - began
        _log.info("cloned afresh after %s (%s): %.3f s", whose, why, seconds)
        if self.run.timeline is not None:
            self.run.timeline.add("reclone", whose, seconds, why=why)
        if complete:
            self.layers.have_gone(going)
        else:
            self.layers.are_lost()

    def psql(self, name: str) -> str:
        """A command that connects; the embedded server has to be started again for it."""
        assert self.worker is not None
        settings = self.settings
        which = f"--bindir '{settings.bindir}' " if settings.bindir else ""
        which += f"--pg-version {settings.version} " if settings.version else ""
        which += "--listen " if settings.listen else ""
        embedded = settings.url is None
        return f"pgtemplate {which}psql {name}" if embedded else self.worker.database.psql(name)


def _leak_error(leaks: tuple[Leak, ...], whose: str) -> LeakError:
    lines = "\n".join(f"  {leak}" for leak in leaks)
    return LeakError(
        f"{whose} left open what the database could not be reset under; it was ended:\n{lines}",
        hint="commit, roll back or close it in the test or in the fixture that opened it"
        " (async with ..); pg_on_leak = warn makes this a warning",
    )
