"""This process's part in the run: its databases, and the test that runs. ``config.stash[RUN]``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from pytest_pgtemplate._run.context import RunContext
from pytest_pgtemplate._run.environment import EnvironmentVariables
from pytest_pgtemplate._run.error_reporter import ErrorReporter, fail
from pytest_pgtemplate._run.fixture_layers import fixture_label, may_write
from pytest_pgtemplate._run.isolated_database import FAILED, IsolatedDatabase, Teardown
from pytest_pgtemplate._run.isolation import isolation_of
from pytest_pgtemplate._run.progress import ProgressReporter
from pytest_pgtemplate._run.run_directory import RunDirectory
from pytest_pgtemplate._run.stats import DatabaseStats
from pytest_pgtemplate._settings import Settings, is_fixture_name
from pytest_pgtemplate.errors import ConfigurationError, PgTemplateError


class Run(RunContext):
    """This process's part in the run: ``config.stash[RUN]``."""

    def __init__(
        self,
        settings: Settings,
        directory: RunDirectory,
        reports: ErrorReporter,
        environment: EnvironmentVariables,
        progress: ProgressReporter,
    ) -> None:
        super().__init__(settings, directory, reports, environment, progress)
        self._plugin_fixture_users: set[str] = set()  # the user's fixtures that take one of ours
        self.databases = {name: IsolatedDatabase(self, name) for name in ("", *settings.databases)}

    @property
    def main(self) -> IsolatedDatabase:
        """The database whose fixtures bear no name."""
        return self.databases[""]

    @property
    def stats(self) -> list[DatabaseStats]:
        """Of each database that a test has asked for."""
        return [each.stats for each in self.databases.values() if each.stats.template]

    def prepare_test(self, item: pytest.Item) -> None:
        """Skip a test that needs what is broken; have ready what it needs."""
        try:
            isolation_of(item, self.settings.isolation)
        except ConfigurationError as wrong:
            fail(wrong)
        self.current = item
        item.stash[FAILED] = False  # it may have run before: pytest-rerunfailures
        needed = getattr(item, "fixturenames", ())
        self.reports.skip_if_broken(needed)
        for database in self.databases.values():
            database.prepare_test(needed)

    @contextmanager
    def fixture_setup(self, fixture: pytest.FixtureDef[Any], request: Any) -> Iterator[None]:
        """Around the setup of a fixture wider than ``function``: it may write to any database."""
        with ExitStack() as stack:
            if self.uses_plugin_fixture(fixture):
                stack.enter_context(self.progress.step(f"setting up {fixture_label(fixture)}"))
            for database in self.databases.values() if may_write(fixture) else ():
                stack.enter_context(database.layers.fixture_setup(fixture, request))
            yield

    def uses_plugin_fixture(self, fixture: pytest.FixtureDef[Any]) -> bool:
        """Whether a fixture of the user's takes one of ours, straight or through others.

        pytest has set up what it takes before.
        """
        if is_fixture_name(fixture.argname):
            return False
        takes = any(
            is_fixture_name(each) or each in self._plugin_fixture_users for each in fixture.argnames
        )
        if takes:
            self._plugin_fixture_users.add(fixture.argname)
        return takes

    def begin_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """The teardown of a test begins."""
        for database in self.databases.values():
            database.teardown = Teardown(item, nextitem)

    def finish_teardown(self) -> list[PgTemplateError]:
        """Isolate the test that ends from what comes next; return what came of that.

        LeakError, SchemaChangedError and ServerError: one of each database at most.
        """
        self.current = None
        errors = []
        for database in self.databases.values():
            try:
                database.finish_teardown()
            except PgTemplateError as error:
                errors.append(error)
        return errors

    def abandon_test(self) -> None:
        """The test was interrupted and did not end: what it left open is no leak."""
        self.current = None
        for database in self.databases.values():
            database.teardown = None


RUN = pytest.StashKey[Run]()
