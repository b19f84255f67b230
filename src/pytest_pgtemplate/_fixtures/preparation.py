"""Prepare the databases in a thread while pytest collects, so that they are ready when it ends.

The first collected test that needs a database starts its steps: server, template, database. They
end before the first test, so that the thread never runs during a test: a test may replace the
clock, the file system or the environment. The thread reports no error: the fixture of the step
raises it, or takes the step again if the environment has changed.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Container, Generator, Mapping
from contextlib import suppress
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

import pytest

from pytest_pgtemplate._internals.pytest import (
    distributes_tests,
    function_of_requested_fixture,
    is_selected,
    module_of_requested_fixture,
)
from pytest_pgtemplate._run import Run
from pytest_pgtemplate._run.resources import PreparedResources
from pytest_pgtemplate.errors import WARNINGS_RAISE, PgTemplateError

if TYPE_CHECKING:
    from queue import SimpleQueue

    from pytest_pgtemplate._run.isolated_database import IsolatedDatabase

    Step = Callable[[IsolatedDatabase], None]
    Override = Callable[[], object]

PLUGIN = "pgtemplate-preparation"
STEP_TIMEOUT = 1.0  # seconds to wait for the end of a step that is not needed any more
STOP_TIMEOUT = 5.0  # seconds to wait after it was interrupted

# For each step, the fixtures that it replaces. If a test overrides one, the preparation ends
# before this step, because an override may need a running test; but see ``_evaluate``.
_OVERRIDABLE = (("pg_server",), ("pg_migrations", "pg_seed", "pg_template"), ("pg_database",))
_EVALUABLE = ("pg_migrations", "pg_seed")
_RUNNING_NO_TESTS = (
    *("collectonly", "showfixtures", "show_fixtures_per_test"),
    *("setuponly", "setupplan"),
)
_BLOCKING_SOCKETS = ("disable_socket", "allow_hosts")  # of pytest-socket, and only in tests
_GREEN_THREADS = ("gevent.monkey", "eventlet.patcher")  # they start processes in one thread only
_DESELECTING = ("lf", "stepwise", "deselect")  # besides -k and -m, which `is_selected` evaluates


def preparation_of(config: pytest.Config, run: Run) -> Preparation | None:
    """Return the preparation of this process; None if it runs no tests or blocks sockets."""
    if (registered := config.pluginmanager.get_plugin(PLUGIN)) is not None:
        assert isinstance(registered, Preparation)
        return registered
    if (
        config.pluginmanager.is_blocked(PLUGIN)  # by `pgtemplate build`
        or distributes_tests(config)  # in the controller of xdist
        or any(config.getoption(name, None) for name in (*_RUNNING_NO_TESTS, *_BLOCKING_SOCKETS))
    ):
        return None
    preparation = Preparation(config, run)
    config.pluginmanager.register(preparation, PLUGIN)
    return preparation


class Preparation:
    """The preparation of all databases of this process, in one thread. It is a pytest plugin."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self._progress = run.progress  # created here, and not by two threads at once
        self._databases = {
            database: (database.fixture_name("pg_database"), database.fixture_name("pg"))
            for database in run.load_databases().values()
        }  # and the fixtures that need them
        self._undecided = [*self._databases]
        self._selects_late = any(config.getoption(name, None) for name in _DESELECTING)
        self._steps: SimpleQueue[tuple[Step, IsolatedDatabase] | None]  # as long as the thread
        self._thread: threading.Thread | None = None
        self._finished = False  # the steps have ended, and tests run
        self._stopped = False  # no step begins any more

    def begin_with(self, item: pytest.Item) -> None:
        """Begin to prepare each database that a test needs, unless it may be deselected later."""
        if self._selects_late:
            return
        for database in self._undecided[:]:
            if self._needs(item, database) and is_selected(item):
                self._begin(item, database)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None]:
        """Begin what had to wait for the deselection. If no test needs a database, stop."""
        yield
        tests = {
            database: next((item for item in items if self._needs(item, database)), None)
            for database in self._databases
        }
        if not any(tests.values()):
            self.close()
        for database in self._undecided[:]:
            if (item := tests[database]) is not None:
                self._begin(item, database)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        if not self._finished:
            self._finish()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            self.close()

    def pytest_sessionfinish(self) -> None:
        """Stop if an interrupt or an error during the collection has prevented the test loop."""
        self.close()

    def close(self) -> None:
        """Stop the thread, and give back what no fixture has taken."""
        self._undecided.clear()
        if self._stop():
            for database in self._databases:
                database.prepared.close()

    def before_fork(self) -> None:
        """Give everything back: a forked child that runs the test needs the same database name."""
        if self._finished:
            self.close()

    def after_fork(self) -> None:
        """In a forked child, which does not have the thread. The parent gives resources back."""
        self._undecided.clear()
        self._thread = None
        for database in self._databases:
            database.prepared = PreparedResources()

    def _needs(self, item: pytest.Item, database: IsolatedDatabase) -> bool:
        fixtures = getattr(item, "fixturenames", ())
        return any(name in fixtures for name in self._databases[database])

    def _begin(self, item: pytest.Item, database: IsolatedDatabase) -> None:
        """Let the thread take the steps up to the first one that the test overrides."""
        self._undecided.remove(database)
        overrides = _evaluable_overrides(item, database)
        is_known = partial(_is_default, item, database, overrides)
        count = len([*takewhile(is_known, _OVERRIDABLE)])
        if count == 0 or any(name in sys.modules for name in _GREEN_THREADS):
            return
        try:
            # Not in the thread: two threads can deadlock when they import modules with cycles.
            from pytest_pgtemplate._fixtures import steps
        except Exception:  # the fixture reports it
            return
        prepare: list[Step] = [steps.prepare_server]
        if count > 1 and (values := _evaluate(overrides)) is not None:
            prepare.append(partial(steps.prepare_template, overrides=values))
            # With --pg-keep it would stay, also if no test uses it.
            if count > 2 and not database.settings.isolation.keep:
                prepare.append(steps.prepare_database)
        self._start_thread()
        for step in prepare:
            self._steps.put((step, database))

    def _start_thread(self) -> None:
        if self._thread is None:
            from queue import SimpleQueue

            from pytest_pgtemplate._server import forks

            self._steps = SimpleQueue()
            forks.register(self)
            forks.register_before(self)
            self._thread = threading.Thread(
                target=self._work, name="pgtemplate-preparation", daemon=True
            )
            self._thread.start()

    def _work(self) -> None:
        WARNINGS_RAISE.set(True)
        with suppress(KeyboardInterrupt), self._progress.in_background():
            for step, database in iter(self._steps.get, None):
                if not self._stopped:
                    try:
                        step(database)
                    except PgTemplateError as error:
                        database.prepared.error = error
                    except Exception:  # noqa: S110 - the fixture takes the step, and reports it
                        pass

    def _finish(self) -> None:
        self._undecided.clear()
        if self._thread is not None and not self._stopped:
            self._steps.put(None)
            with self._progress.shown():
                self._thread.join()
            self._thread = None
        self._finished = True

    def _stop(self) -> bool:
        """Stop the thread. False: it does not stop in time, and ends with the process."""
        self._stopped = True
        if self._thread is not None:
            self._steps.put(None)
            self._thread.join(STEP_TIMEOUT)
            if self._thread.is_alive():
                from pytest_pgtemplate._internals.cpython import interrupt_thread

                interrupt_thread(self._thread)
                self._thread.join(STOP_TIMEOUT)
            if self._thread.is_alive():
                return False
            self._thread = None
        return True


def _is_default(
    item: pytest.Item,
    database: IsolatedDatabase,
    overrides: Container[str],
    fixtures: tuple[str, ...],
) -> bool:
    """Whether a test uses the plugin's own definitions of the fixtures, or known overrides."""
    return all(name in overrides or _is_own(item, database.fixture_name(name)) for name in fixtures)


def _is_own(item: pytest.Item, fixture: str) -> bool:
    return module_of_requested_fixture(item, fixture).startswith("pytest_pgtemplate.")


def _evaluable_overrides(item: pytest.Item, database: IsolatedDatabase) -> dict[str, Override]:
    """Return the functions of the overridden fixtures that can be called without a test."""
    names = {name: database.fixture_name(name) for name in _EVALUABLE}
    overridden = {key: name for key, name in names.items() if not _is_own(item, name)}
    functions = {key: function_of_requested_fixture(item, name) for key, name in overridden.items()}
    return {key: function for key, function in functions.items() if function is not None}


def _evaluate(overrides: Mapping[str, Override]) -> dict[str, object] | None:
    """Call the overrides, here and not in the thread: they may import the user's modules.

    pytest calls them again for the fixtures. If these have another fingerprint, the fixture
    ``pg_template`` does not take what was prepared. None if one fails, which the fixture reports,
    or if the migrations run code of the user's in this process, or read it, like ``Metadata``.
    """
    if not overrides:
        return {}
    from pytest_pgtemplate._template import Alembic, Command, SqlFiles

    try:
        with warnings.catch_warnings(action="ignore"):  # the fixture issues them
            values = {name: function() for name, function in overrides.items()}
    except KeyboardInterrupt:
        raise
    except BaseException:  # also pytest.skip
        return None
    migrations = values.get("pg_migrations")
    if "pg_migrations" in values and type(migrations) not in {Alembic, Command, SqlFiles}:
        return None
    return values
