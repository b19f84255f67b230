"""The state of one pytest process: its databases and its current test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_pgtemplate._run.context import FAILED, RunContext, Teardown
from pytest_pgtemplate._run.error_reporter import fail
from pytest_pgtemplate._settings import is_fixture_name
from pytest_pgtemplate.errors import ConfigurationError, PgTemplateError

if TYPE_CHECKING:
    from pytest_pgtemplate._run.isolated_database import IsolatedDatabase
    from pytest_pgtemplate._run.stats import DatabaseStats


class Run(RunContext):
    """The state of one pytest process, in ``config.stash[RUN]``.

    ``databases`` is empty until ``load_databases``: a run without database tests does not import
    their modules. What a wide fixture writes becomes a layer, so the databases are loaded before
    the setup of every wide fixture that requests, or may request, a fixture of the plugin.
    """

    databases: dict[str, IsolatedDatabase]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.databases = {}
        self._in_teardown: tuple[pytest.Item, pytest.Item | None] | None = None  # and the next test
        self._used_database = False  # by the test in its teardown
        self._plugin_fixture_users: set[str] = set()  # fixtures that request one of the plugin's

    def load_databases(self) -> dict[str, IsolatedDatabase]:
        """Return the databases of this process by name (``""``: the main database)."""
        if not self.databases:
            from pytest_pgtemplate._run.isolated_database import IsolatedDatabase

            for name in ("", *self.settings.databases):
                self.databases[name] = database = IsolatedDatabase(self, name)
                if self._in_teardown is not None:
                    database.teardown = Teardown(*self._in_teardown)
        return self.databases

    def prepare_collected(self, items: Iterable[pytest.Item]) -> None:
        """Store errors of the collection, which the first test that needs a database reports."""
        self.environment.record_changes()
        if any(map(requests_database, items)):
            from pytest_pgtemplate._run.overrides import find_override_conflicts

            for name, database in self.load_databases().items():
                database.override_conflicts = find_override_conflicts(items, name)

    @property
    def main(self) -> IsolatedDatabase:
        """The main database."""
        return self.load_databases()[""]

    @property
    def stats(self) -> list[DatabaseStats]:
        """The statistics of each database that a test has requested."""
        return [db.stats for db in self.databases.values() if db.stats.template]

    def prepare_test(self, item: pytest.Item) -> None:
        """Skip a test that needs a broken fixture; prepare the databases for it."""
        if item.get_closest_marker("pg") is not None:
            self._require_valid_marker(item)
        self.current = item
        item.stash[FAILED] = False  # pytest-rerunfailures runs an item more than once
        self.reports.skip_if_broken(getattr(item, "fixturenames", ()))
        for database in self.databases.values():
            database.prepare_test(item)

    def _require_valid_marker(self, item: pytest.Item) -> None:
        from pytest_pgtemplate._run.isolation import read_isolation

        try:
            read_isolation(item, self.settings.isolation)
        except ConfigurationError as wrong:
            fail(wrong)

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
        if not self.databases and not _may_request_database(fixture):
            yield
            return
        from pytest_pgtemplate._run.fixtures import (
            fixture_label,
            forgotten_unless_started,
            may_write,
        )

        self.load_databases()
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

    def record_failure(self, report: pytest.TestReport) -> None:
        """Record that the current test failed, in case that its report was made elsewhere."""
        if report.failed and self.current is not None and report.nodeid == self.current.nodeid:
            self.current.stash[FAILED] = True

    def begin_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Begin the teardown of a test."""
        self.torn_down = item
        self._in_teardown = item, nextitem
        self._used_database = self._uses_database
        for database in self.databases.values():
            database.teardown = Teardown(item, nextitem)

    def finish_teardown(self) -> list[PgTemplateError]:
        """Isolate the ending test from the next one; return at most one error per database.

        If anything, such as a timeout, interrupts one database, the others are still isolated.
        """
        self.current = self._in_teardown = None
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
        """Wrap setup, call and teardown of a test.

        If they run in a forked child (pytest-forked), the parent isolates the test from the next.
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
        self.current = self._in_teardown = None
        for database in self.databases.values():
            database.teardown = None


def requests_database(item: pytest.Item) -> bool:
    """Whether a test requests a fixture of the plugin, directly or indirectly, by its name."""
    return any(map(is_fixture_name, getattr(item, "fixturenames", ())))


def _may_request_database(fixture: pytest.FixtureDef[Any]) -> bool:
    """Whether a fixture requests one of the plugin, or may do so by ``request.getfixturevalue``."""
    return any(name == "request" or is_fixture_name(name) for name in fixture.argnames)


RUN = pytest.StashKey[Run]()
