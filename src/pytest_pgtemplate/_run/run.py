"""This process's part in the run: it isolates one test from the next. In ``config.stash[RUN]``."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytest_pgtemplate import _names
from pytest_pgtemplate._run.environment import Environment
from pytest_pgtemplate._run.isolation import isolation_of
from pytest_pgtemplate._run.layers import Layers
from pytest_pgtemplate._run.progress import Progress
from pytest_pgtemplate._run.reports import Reports, fail
from pytest_pgtemplate._run.timeline import Timeline
from pytest_pgtemplate._settings import Settings
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
    from pytest_pgtemplate._worker import Worker

_log = logging.getLogger("pytest_pgtemplate")
FAILED = pytest.StashKey[bool]()  # of an item: whether its setup or call failed


@dataclass(eq=False, repr=False)
class Stats:
    """What a worker did, for the summary. Times in seconds."""

    worker: str
    server: str = ""
    room: int = 0  # how many workers the server has connections for
    template: str = ""
    built: str = ""  # how it built the template, if it did
    tracking: str = ""
    event_triggers: bool = False
    stand_ins: list[str] = field(default_factory=list)  # extensions
    template_time: float = 0.0
    clone_time: float = 0.0
    from_spare: bool = False  # there was nothing to clone
    resets: int = 0
    reset_time: float = 0.0
    layers: list[tuple[str, str, int, float]] = field(default_factory=list)  # owner, node, rows, s
    recloned: list[str] = field(default_factory=list)  # "test: why"
    kept: list[str] = field(default_factory=list)  # "test or worker: psql .."

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(eq=False, repr=False)
class Ending:
    """A test in its teardown. ``isolated``: it was once, and ``error`` is what came of that."""

    item: pytest.Item
    nextitem: pytest.Item | None
    isolated: bool = False
    error: PgTemplateError | None = None


@dataclass(eq=False, repr=False)
class Run:
    """This process's part in the run."""

    settings: Settings
    reports: Reports
    stats: Stats
    environment: Environment
    progress: Progress
    worker: Worker | None = None  # while this process has a database
    current: pytest.Item | None = None  # the test that runs
    ending: Ending | None = None  # the test whose teardown has begun
    pools: list[Pools] = field(default_factory=list)  # what was opened to that database
    pools_of_tests: Pools | None = None  # those of them that each test finds as good as new
    urls: list[str] = field(init=False)  # of servers; their passwords are never shown
    lost: bool = False  # the database is in an unknown state, for the server failed in a reset
    disagreement: ConfigurationError | None = None  # on what builds the template
    timeline: Timeline | None = None  # while the run is recorded
    crashed: bool = False  # in the controller: a worker of this run has

    def __post_init__(self) -> None:
        self.layers = Layers(self)
        self.urls = [*self.settings.urls, *self.environment.urls]

    def prepare(self, item: pytest.Item) -> None:
        """Skip a test that needs what is broken; have ready what it needs."""
        try:
            isolation_of(item, self.settings)
        except ConfigurationError as wrong:
            fail(wrong)
        self.current = item
        item.stash[FAILED] = False  # it may have run before: pytest-rerunfailures
        needed = getattr(item, "fixturenames", ())
        self.reports.skip_if_broken(needed)
        if "pg_database" in needed:
            self.renew()

    @property
    def resetter(self) -> Resetter | None:
        """What knows the state of the database, while there is one and it is in a known state."""
        return None if self.worker is None or self.lost else self.worker.resetter

    @property
    def test(self) -> str:
        return f"test {self.current.nodeid}" if self.current is not None else "a test"

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
                self.reports.report(error)

    def rolls_back(self, item: pytest.Item) -> bool:
        return isolation_of(item, self.settings).kind == "rollback"

    @contextmanager
    def for_tests(self, pools: Pools) -> Iterator[None]:
        """Make the connections of ``pools`` as good as new after each test."""
        self.pools_of_tests = pools
        try:
            with self.forgetting(pools):
                yield
        finally:
            self.pools_of_tests = None

    @contextmanager
    def forgetting(self, pools: Pools) -> Iterator[None]:
        """Close the connections of ``pools`` whenever the database is cloned afresh."""
        self.pools.append(pools)
        try:
            yield
        finally:
            self.pools.remove(pools)

    def finish_last(self) -> None:
        """The last test: its database goes with the session's fixtures, before that test ends."""
        if self.current is not None:
            self.ending = self.ending or Ending(self.current, None)
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
        ending, self.current = self.ending, None
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
        again, ending.isolated = ending.isolated, True
        if self.worker is None or self.lost:
            return
        item, nextitem = ending.item, ending.nextitem
        isolation = isolation_of(item, self.settings, strict=False)
        if nextitem is not None:
            following = isolation_of(nextitem, self.settings, strict=False)
            if isolation.lasts(item, nextitem, following):
                return
        if self.settings.keep_failed and item.stash.get(FAILED, False) and not again:
            self._set_aside(self.worker, item.nodeid)
        elif self.shows_last_test:
            return
        elif isolation.kind == "clone" and not again:
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
        if self.timeline is not None:
            tables = self.worker.resetter.names(outcome.written)
            self.timeline.add("reset", whose, seconds, tables=tables)
        if outcome.stale is not None:
            self._reclone(self.worker, whose, outcome.stale, going)
            self.stats.recloned.append(f"{whose}: {outcome.stale}")
        else:
            self.layers.have_gone(going)
        self.judge_leaks(outcome, whose)
        if outcome.stale is not None and self.settings.on_ddl == "error":
            raise SchemaChangedError(
                f"the database could not be reset after {whose}: {outcome.stale}",
                hint="mark it @pytest.mark.pg(isolation='clone'), or set pg_on_ddl = reclone",
            )

    def _put_right(self) -> None:
        if self.pools_of_tests is not None:
            self.pools_of_tests.put_right()

    def judge_leaks(self, outcome: Outcome, whose: str) -> None:
        """Raise LeakError, or warn, when a reset or a layer had to end a transaction."""
        if outcome.leaks:
            if self.timeline is not None:
                what = "; ".join(map(str, outcome.leaks))
                self.timeline.add("leak", whose, 0.0, what=what)
            error = _leak_error(outcome.leaks, whose)
            if self.settings.on_leak == "error":
                raise error
            warnings.warn(PgTemplateWarning(str(error)), stacklevel=1)

    def _reclone(self, worker: Worker, whose: str, why: str, going: Collection[int] = ()) -> None:
        self._replace(worker.reclone, whose, why, going)

    def _set_aside(self, worker: Worker, test: str) -> None:
        name = _names.kept(worker.database.name, len(self.stats.kept) + 1)
        self._replace(partial(worker.set_aside, name), test, "kept", self.layers.going)
        self.stats.kept.append(f"{test}: {self.psql(name)}")

    def _replace(
        self, by: Callable[[Collection[int]], bool], whose: str, why: str, going: Collection[int]
    ) -> None:
        """Go on with a new clone, to which the layers come along."""
        began = time.perf_counter()
        going = {*going, *self.layers.going}
        self.lost = True
        for pools in self.pools:
            pools.close()
        complete = by(going)
        self.lost = False
        seconds = time.perf_counter() - began
        _log.info("cloned afresh after %s (%s): %.3f s", whose, why, seconds)
        if self.timeline is not None:
            self.timeline.add("reclone", whose, seconds, why=why)
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


RUN = pytest.StashKey[Run]()
