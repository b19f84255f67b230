"""The state that all databases of this process share during a run."""

from __future__ import annotations

import os
import shutil
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_pgtemplate._run.environment import EnvironmentVariables
from pytest_pgtemplate._run.error_reporter import ErrorReporter
from pytest_pgtemplate._run.reported_errors import ReportedErrors
from pytest_pgtemplate._run.server_limits import ServerLimits
from pytest_pgtemplate._settings import RunIdentity, Settings
from pytest_pgtemplate.errors import PgTemplateError

if TYPE_CHECKING:
    from typing import Any

    from pytest_pgtemplate._run.progress import ProgressReporter
    from pytest_pgtemplate._run.resources import Resource
    from pytest_pgtemplate._run.timeline import Timeline

FAILED = pytest.StashKey[bool]()  # whether the setup or the call of an item failed


class RunDirectory:
    """Call it to get the path. It is computed on first use, because that takes some ms.

    ``shared``: other processes may have created the directory.
    """

    def __init__(self, identity: RunIdentity, *, shared: bool) -> None:
        self._identity = identity
        self._may_exist = shared

    def __call__(self) -> Path:
        self._may_exist = True
        return self._identity.directory

    def remove(self) -> None:
        if self._may_exist:
            shutil.rmtree(self(), ignore_errors=True)


class Teardown:
    """A test in its teardown. ``isolated``: the reset has already run, with these ``errors``."""

    def __init__(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        self.item = item
        self.nextitem = nextitem
        self.isolated = False
        self.errors: list[PgTemplateError] = []


class RunContext:
    """Settings, reporting and the current test."""

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        directory: RunDirectory,
        environment: EnvironmentVariables,
    ) -> None:
        self.settings = settings
        self.directory = directory
        self.reports = ErrorReporter(ReportedErrors(directory))
        self.environment = environment
        self.current: pytest.Item | None = None  # the current test
        self.torn_down: pytest.Item | None = None  # the last test whose teardown began here
        self.timeline: Timeline | None = None  # None: the run is not recorded
        self.limits = ServerLimits(config)
        self.crashed = False  # in the controller: whether a worker of this run crashed
        # Reports hide the passwords in these URLs.
        self.urls = [*settings.all_urls, *environment.urls]
        self.redacted_sections: list[tuple[str, str]] = []  # of the last report with sections
        self._passwords_of_libpq: set[str] | None = None  # None: not read yet
        self._config = config
        self._to_close: list[Resource[Any]] = []
        self._process = os.getpid()

    @cached_property
    def progress(self) -> ProgressReporter:
        """Created for the first reported step: most runs without a database report none."""
        from pytest_pgtemplate._run.progress import ProgressReporter, draw_in_pytest

        return ProgressReporter(
            self.directory,
            self.settings.identity.worker,
            lambda directory: draw_in_pytest(self._config, directory),
        )

    def find_passwords(self) -> set[str]:
        """Return the passwords that reports hide."""
        from pytest_pgtemplate._urls import redaction

        if self._passwords_of_libpq is None:
            self._passwords_of_libpq = redaction.find_passwords_of_libpq()
        return redaction.find_passwords(self.urls) | self._passwords_of_libpq

    def close_later(self, resource: Resource[Any]) -> None:
        """Give a resource back at the end of the run, so that no report waits for it."""
        self._to_close.append(resource)
        if os.getpid() != self._process:  # a forked child ends without the end of the run
            self.close_resources()

    def close_resources(self) -> None:
        """Close the resources of ``close_later``; report errors in the last test's teardown."""
        while self._to_close:
            resource = self._to_close.pop(0)
            try:
                resource.close()
            except PgTemplateError as error:
                self.reports.report_at_end(self.torn_down or self.current, error)
