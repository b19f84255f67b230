"""The state that all databases of this process share during a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_pgtemplate._run.environment import EnvironmentVariables
from pytest_pgtemplate._run.error_reporter import ErrorReporter
from pytest_pgtemplate._run.progress import ProgressReporter
from pytest_pgtemplate._run.run_directory import RunDirectory
from pytest_pgtemplate._settings import Settings

if TYPE_CHECKING:
    import pytest

    from pytest_pgtemplate._run.timeline import Timeline


class RunContext:
    """Settings, reporting and the current test."""

    def __init__(
        self,
        settings: Settings,
        directory: RunDirectory,
        reports: ErrorReporter,
        environment: EnvironmentVariables,
        progress: ProgressReporter,
    ) -> None:
        self.settings = settings
        self.directory = directory
        self.reports = reports
        self.environment = environment
        self.progress = progress
        self.current: pytest.Item | None = None  # the current test
        self.timeline: Timeline | None = None  # None: the run is not recorded
        self.crashed = False  # in the controller: whether a worker of this run crashed
        self.urls = [*settings.all_urls, *environment.urls]  # reports hide their passwords
