"""The state that all databases of this process share during a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_pgtemplate._run.environment import EnvironmentVariables
from pytest_pgtemplate._run.error_reporter import ErrorReporter
from pytest_pgtemplate._run.progress import ProgressReporter
from pytest_pgtemplate._run.resources import Resource
from pytest_pgtemplate._run.run_directory import RunDirectory
from pytest_pgtemplate._settings import Settings
from pytest_pgtemplate.errors import PgTemplateError

if TYPE_CHECKING:
    from typing import Any

    import pytest

    from pytest_pgtemplate._run.timeline import Timeline


@dataclass(eq=False, repr=False)
class RunContext:
    """Settings, reporting and the current test."""

    settings: Settings
    directory: RunDirectory
    reports: ErrorReporter
    environment: EnvironmentVariables
    progress: ProgressReporter

    def __post_init__(self) -> None:
        self.current: pytest.Item | None = None  # the current test
        self.torn_down: pytest.Item | None = None  # the last test whose teardown began here
        self.timeline: Timeline | None = None  # None: the run is not recorded
        self.crashed = False  # in the controller: whether a worker of this run crashed
        # Reports hide the passwords of these.
        self.urls = [*self.settings.all_urls, *self.environment.urls]
        self._to_close: list[Resource[Any]] = []
        self._process = os.getpid()

    def close_later(self, resource: Resource[Any]) -> None:
        """Give a resource back at the end of the run, so that no report waits for it."""
        self._to_close.append(resource)
        if os.getpid() != self._process:  # a forked child ends without the end of the run
            self.close_resources()

    def close_resources(self) -> None:
        """Give back what ``close_later`` has got. An error is one of the last test's teardown."""
        while self._to_close:
            resource = self._to_close.pop(0)
            try:
                resource.close()
            except PgTemplateError as error:
                self.reports.report_at_end(self.torn_down or self.current, error)
