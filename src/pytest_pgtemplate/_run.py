"""What one process knows of the run it is part of. It lives in ``config.stash[RUN]``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import pytest

from pytest_pgtemplate._failures import Failures
from pytest_pgtemplate._settings import Settings
from pytest_pgtemplate.errors import PgTemplateError

if TYPE_CHECKING:
    from pytest_pgtemplate._reset import Resetter


@dataclass
class Stats:
    """What a worker did, for the summary. Times in seconds."""

    worker: str
    server: str = ""
    template: str = ""
    built: bool = False
    template_time: float = 0.0
    clone_time: float = 0.0
    resets: int = 0
    reset_time: float = 0.0
    kept: str = ""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass
class Run:
    """This process's part in the run."""

    settings: Settings
    failures: Failures
    stats: Stats
    resetter: Resetter | None = None  # set while this worker has a database
    broken: dict[str, str] = field(default_factory=dict)  # fixture name -> what was wrong

    @contextmanager
    def reported_once(self, fixture: str) -> Iterator[None]:
        """Turn our errors into one pytest failure per run; everybody else skips."""
        try:
            yield
        except PgTemplateError as error:
            self.broken[fixture] = str(error).partition("\n")[0]
            if self.failures.is_first(error):
                pytest.fail(str(error), pytrace=False)
            self.skip(fixture)

    def skip(self, fixture: str) -> None:
        pytest.skip(f"no database: {self.broken[fixture]} (reported in full once)")

    def reset(self) -> None:
        """Bring this worker's database back to the template's state, if it has one."""
        if self.resetter is None:
            return
        began = time.perf_counter()
        self.resetter.reset()
        self.stats.reset_time += time.perf_counter() - began
        self.stats.resets += 1


RUN = pytest.StashKey[Run]()
