"""The state of one pytest process: its databases and its current test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from pytest_pgtemplate._run.context import RunContext
from pytest_pgtemplate._run.environment import EnvironmentVariables
from pytest_pgtemplate._run.error_reporter import ErrorReporter, fail, report_teardown_errors
from pytest_pgtemplate._run.fixture_layers import fixture_label, may_write
from pytest_pgtemplate._run.isolated_database import FAILED, IsolatedDatabase, Teardown
from pytest_pgtemplate._run.isolation import isolation_of
from pytest_pgtemplate._run.progress import ProgressReporter
from pytest_pgtemplate._run.run_directory import RunDirectory
from pytest_pgtemplate._run.stats import DatabaseStats
from pytest_pgtemplate._settings import Settings, is_fixture_name
from pytest_pgtemplate.errors import ConfigurationError, PgTemplateError


class Run(RunContext):
    """The state of one pytest process, in ``config.stash[RUN]``."""

    def __init__(
        self,
        settings: Settings,
        directory: RunDirectory,
        reports: ErrorReporter,
        environment: EnvironmentVariables,
        progress: ProgressReporter,
    ) -> None:
        super().__init__(settings, directory, reports, environment, progress)
        self.torn_down: pytest.Item | None = None  # the last test whose teardown began here
        self._plugin_fixture_users: set[str] = set()  # the user's fixtures that request one of ours
        self.databases = {name: IsolatedDatabase(self, name) for name in ("", *settings.databases)}

    @property
    def main(self) -> IsolatedDatabase:
        """The main database."""
        return self.databases[""]

    @property
    def stats(self) -> list[DatabaseStats]:
        """The statistics of each database that a test has requested."""
        return [db.stats for db in self.databases.values() if db.stats.template]

    def prepare_test(self, item: pytest.Item) -> None:
        """Skip a test that needs a broken fixture; prepare the databases for it."""
        try:
            isolation_of(item, self.settings.isolation)
        except ConfigurationError as wrong:
            fail(wrong)
        self.current = item
        item.stash[FAILED] = False  # pytest-rerunfailures runs an item more than once
        needed = getattr(item, "fixturenames", ())
        self.reports.skip_if_broken(needed)
        for database in self.databases.values():
            database.prepare_test(needed)

    @contextmanager
    def fixture_setup(self, fixture: pytest.FixtureDef[Any], request: Any) -> Iterator[None]:
        """Wrap the setup of a fixture wider than ``function``, which may write to any database."""
        with ExitStack() as stack:
            if self.uses_plugin_fixture(fixture):
                stack.enter_context(self.progress.step(f"setting up {fixture_label(fixture)}"))
            for database in self.databases.values() if may_write(fixture) else ():
                stack.enter_context(database.layers.fixture_setup(fixture, request))
            yield

    def uses_plugin_fixture(self, fixture: pytest.FixtureDef[Any]) -> bool:
        """Whether a fixture of the user requests one of the plugin, directly or indirectly.

        pytest calls this in the order of the setups: first for the requested fixtures.
        """
        if is_fixture_name(fixture.argname):
            return False
        if not any(
            is_fixture_name(name) or name in self._plugin_fixture_users for name in fixture.argnames
        ):
            return False
        self._plugin_fixture_users.add(fixture.argname)
        return True

    def begin_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Begin the teardown of a test."""
        self.torn_down = item
        for database in self.databases.values():
            database.teardown = Teardown(item, nextitem)

    def finish_teardown(self) -> list[PgTemplateError]:
        """Isolate the ending test from the next one; return at most one error per database.

        These are LeakError, SchemaChangedError and ServerError.
        """
        self.current = None
        errors = []
        for database in self.databases.values():
            try:
                database.finish_teardown()
            except PgTemplateError as error:
                errors.append(error)
        return errors

    @contextmanager
    def test_protocol(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        interrupted: tuple[type[BaseException], ...],
    ) -> Iterator[None]:
        """Around setup, call and teardown; they may run in a forked child, as in pytest-forked.

        Then the parent isolates the test from the next one.
        """
        self.torn_down = None
        try:
            yield
        except interrupted:
            self.abandon_test()
            raise
        if self.torn_down is None:
            self.begin_teardown(item, nextitem)
            for database in self.databases.values():
                database.used = True
            report_teardown_errors(item, self.finish_teardown())

    def abandon_test(self) -> None:
        """Forget an interrupted test: what it left open is not a leak."""
        self.current = None
        for database in self.databases.values():
            database.teardown = None


RUN = pytest.StashKey[Run]()
