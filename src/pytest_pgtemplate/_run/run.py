"""The state of one pytest process: its databases and its current test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from pytest_pgtemplate._run.context import RunContext
from pytest_pgtemplate._run.error_reporter import fail
from pytest_pgtemplate._run.fixtures import (
    fixture_label,
    forgotten_unless_started,
    may_write,
)
from pytest_pgtemplate._run.isolated_database import IsolatedDatabase
from pytest_pgtemplate._run.isolation import isolation_of
from pytest_pgtemplate._run.stats import DatabaseStats
from pytest_pgtemplate._run.teardown import FAILED, Teardown
from pytest_pgtemplate._settings import is_fixture_name
from pytest_pgtemplate.errors import ConfigurationError, PgTemplateError


class Run(RunContext):
    """The state of one pytest process, in ``config.stash[RUN]``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._used_database = False  # by the test in its teardown
        self._plugin_fixture_users: set[str] = set()  # fixtures that request one of the plugin's
        self.databases = {
            name: IsolatedDatabase(self, name) for name in ("", *self.settings.databases)
        }

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
        self.reports.skip_if_broken(getattr(item, "fixturenames", ()))
        for database in self.databases.values():
            database.prepare_test(item)

    def require_known_state(self, item: pytest.Item) -> None:
        """Fail a test that must not run. This is checked last, right before the test function.

        No test runs on a database whose state is unknown, without the rows of a shared fixture, or
        while a variable of pg_env refers to another database.
        """
        self._require_environment()
        try:
            for database in self.databases.values():
                database.require_known_state(item)
        except PgTemplateError as error:
            fail(error)

    def _require_environment(self) -> None:
        if self._uses_database and (error := self.environment.find_change()) is not None:
            self.reports.fail_or_skip(error)

    @property
    def _uses_database(self) -> bool:
        return any(database.used for database in self.databases.values())

    @contextmanager
    def fixture_setup(self, fixture: pytest.FixtureDef[Any], request: Any) -> Iterator[None]:
        """Wrap the setup of a fixture wider than ``function``, which may write to any database."""
        with forgotten_unless_started(fixture, request):
            self._require_environment()
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
        self._used_database = self._uses_database
        for database in self.databases.values():
            database.teardown = Teardown(item, nextitem)

    def finish_teardown(self) -> list[PgTemplateError]:
        """Isolate the ending test from the next one; return at most one error per database.

        If anything, such as a timeout, interrupts one database, the others are still isolated.
        """
        self.current = None
        errors: list[PgTemplateError] = []
        others: list[BaseException] = []
        for database in self.databases.values():
            try:
                errors += database.finish_teardown()
            except BaseException as error:
                others.append(error)
        for other in others:
            raise other
        change = self.environment.find_change() if self._used_database else None
        return errors if change is None or self.reports.is_shown(change) else [*errors, change]

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
            self.reports.report_teardown_errors(item, self.finish_teardown())

    def abandon_test(self) -> None:
        """Forget an interrupted test: what it left open is not a leak."""
        self.current = None
        for database in self.databases.values():
            database.teardown = None


RUN = pytest.StashKey[Run]()
