"""This process's part in the run: it isolates one test from the next. In ``config.stash[RUN]``."""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import pytest

from pytest_pgtemplate import _names
from pytest_pgtemplate._run.isolation import isolation_of
from pytest_pgtemplate._run.reports import Reports, fail
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
    from pytest_pgtemplate._reset import Leak, Outcome
    from pytest_pgtemplate._worker import Database, Worker

FAILED = pytest.StashKey[bool]()  # of an item: whether its setup or call failed


@dataclass(eq=False, repr=False)
class Stats:
    """What a worker did, for the summary. Times in seconds."""

    worker: str
    server: str = ""
    room: int = 0  # how many workers the server has connections for
    template: str = ""
    built: bool = False
    tracking: str = ""
    event_triggers: bool = False
    template_time: float = 0.0
    clone_time: float = 0.0
    resets: int = 0
    reset_time: float = 0.0
    recloned: list[str] = field(default_factory=list)  # "test: why"
    kept: list[str] = field(default_factory=list)  # "test or worker: psql .."

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(eq=False, repr=False)
class Run:
    """This process's part in the run."""

    settings: Settings
    reports: Reports
    stats: Stats
    worker: Worker | None = None  # while this process has a database
    current: pytest.Item | None = None  # the test that runs
    pools: Pools | None = None  # what tests opened to that database
    lost: bool = False  # the database is in an unknown state, for the server failed in a reset
    crashed: bool = False  # in the controller: a worker of this run has

    def prepare(self, item: pytest.Item) -> None:
        """Skip a test that needs what is broken; have ready what it needs."""
        try:
            isolation_of(item, self.settings)
        except ConfigurationError as wrong:
            fail(wrong)
        self.current = item
        needed = getattr(item, "fixturenames", ())
        self.reports.skip_if_broken(needed)
        if "pg_database" in needed:
            self.renew()

    def renew(self) -> None:
        """Clone afresh what a reset could not save, or report why that fails, too."""
        if self.lost and self.worker is not None:
            try:
                self._reclone(self.worker)
            except PgTemplateError as error:
                self.reports.report(error)

    def rolls_back(self, item: pytest.Item) -> bool:
        return isolation_of(item, self.settings).kind == "rollback"

    def finish_last(self) -> None:
        """The last test: its database goes with the session's fixtures, before that test ends."""
        if self.current is not None:
            self.finish(self.current, None)

    def finish(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Isolate ``item`` from what comes next. Raises LeakError and SchemaChangedError."""
        self.current = None
        if self.worker is None or self.lost:
            return
        isolation = isolation_of(item, self.settings, strict=False)
        if nextitem is not None:
            following = isolation_of(nextitem, self.settings, strict=False)
            if isolation.lasts(item, nextitem, following):
                return
        if self.settings.keep_failed and item.stash.get(FAILED, False):
            self._set_aside(self.worker, item.nodeid)
        elif self.settings.keep and nextitem is None:
            return  # whoever keeps a database wants to see what the last test left
        elif isolation.kind == "clone" and nextitem is not None:
            self._reclone(self.worker)
        elif isolation.kind not in {"clone", "none"}:
            self._reset(self.worker, item.nodeid)

    def _reset(self, worker: Worker, test: str) -> None:
        began = time.perf_counter()
        self.lost = True
        outcome = worker.reset()
        self.lost = False
        self.stats.reset_time += time.perf_counter() - began
        self.stats.resets += 1
        if outcome.stale is not None:
            self._reclone(worker)
            self.stats.recloned.append(f"{test}: {outcome.stale}")
        self._judge(outcome)

    def _judge(self, outcome: Outcome) -> None:
        if outcome.leaks:
            error = _leak_error(outcome.leaks)
            if self.settings.on_leak == "error":
                raise error
            warnings.warn(PgTemplateWarning(str(error)), stacklevel=1)
        if outcome.stale is not None and self.settings.on_ddl == "error":
            raise SchemaChangedError(
                f"this test's database could not be reset: {outcome.stale}",
                hint="mark it @pytest.mark.pg(isolation='clone'), or set pg_on_ddl = reclone",
            )

    def _reclone(self, worker: Worker) -> None:
        self.lost = True
        if self.pools is not None:
            self.pools.close()
        worker.reclone()
        self.lost = False

    def _set_aside(self, worker: Worker, test: str) -> None:
        if self.pools is not None:
            self.pools.close()
        self.lost = True
        name = _names.kept(worker.database.name, len(self.stats.kept) + 1)
        worker.set_aside(name)
        self.lost = False
        self.note_kept(test, worker.database, name)

    def note_kept(self, whose: str, database: Database, name: str) -> None:
        """Say how to connect; the embedded server has to be started again for it."""
        bindir = f"--bindir '{self.settings.bindir}' " if self.settings.bindir else ""
        embedded = self.settings.url is None
        command = f"pgtemplate {bindir}psql {name}" if embedded else database.psql(name)
        self.stats.kept.append(f"{whose}: {command}")


def _leak_error(leaks: tuple[Leak, ...]) -> LeakError:
    lines = "\n".join(f"  {leak}" for leak in leaks)
    return LeakError(
        f"this test left open what its database could not be reset under; it was ended:\n{lines}",
        hint="commit, roll back or close it in the test or in the fixture that opened it"
        " (async with ..); pg_on_leak = warn makes this a warning",
    )


RUN = pytest.StashKey[Run]()
