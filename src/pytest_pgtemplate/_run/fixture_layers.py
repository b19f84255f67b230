"""Share data between tests: what a fixture wider than ``function`` writes becomes a layer.

A layer is added after the setup of its fixture and removed after its teardown. A reset restores the
template plus the active layers. If a test, or another such fixture, has written before the setup,
its writes become a separate layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

from pytest_pgtemplate._internals import clocks
from pytest_pgtemplate._internals.pytest import capture_disabled, is_set_up
from pytest_pgtemplate._run.active_layers import SAME_SCOPE, ActiveLayers, Layer, SharedFixture
from pytest_pgtemplate._run.error_reporter import fail, fails
from pytest_pgtemplate._run.fixtures import finish, fixture_label, forgotten_unless_started
from pytest_pgtemplate._run.lost_fixtures import LostFixtures
from pytest_pgtemplate.errors import LayerError, PgTemplateError, SchemaChangedError

if TYPE_CHECKING:
    from pytest_pgtemplate._reset import ResetResult, Resetter
    from pytest_pgtemplate._run.context import RunContext
    from pytest_pgtemplate._run.stats import DatabaseStats
    from pytest_pgtemplate._worker import WorkerDatabase

_WIDTH = {"class": 1, "module": 2, "package": 3, "session": 4}  # a test: 0


class _UnattributedWrites(NamedTuple):
    """Writes before the setup or teardown of a fixture that could not become a layer."""

    owner: str
    reason: str
    xid: str  # the current transaction id at that time

    def error(self, layer: Layer, action: str, hint: str) -> LayerError:
        """Return an error for the fixture of a layer, whose ``action`` came after the writes."""
        return LayerError(
            f"{layer.owner} {action} while {self.owner} {self.reason}, so the writes of the two"
            " cannot be separated",
            hint=hint,
        )


class LayeredDatabase(Protocol):
    """The part of ``IsolatedDatabase`` that ``FixtureLayers`` uses."""

    run: RunContext
    stats: DatabaseStats
    worker: WorkerDatabase | None

    @property
    def resetter(self) -> Resetter | None: ...
    @property
    def test(self) -> str: ...
    @property
    def keeps_last_state(self) -> bool: ...
    @property
    def keeps_writes(self) -> bool: ...
    def changing_state(self) -> AbstractContextManager[None]: ...
    def reset(self, removed: list[int], node_id: str) -> None: ...
    def report_leaks(self, result: ResetResult, node_id: str) -> None: ...
    def finish_before_fixture_teardown(self) -> None: ...


class FixtureLayers:
    """The layers of one database, with their owners."""

    def __init__(self, database: LayeredDatabase) -> None:
        self._database = database
        self.active = ActiveLayers()
        self.lost = LostFixtures()
        self._owned: dict[pytest.FixtureDef[Any], SharedFixture] = {}  # that have a layer
        self._in_setup: list[SharedFixture] = []  # in the order of their setups, which are nested
        # By the number of the layer: what the teardown of the fixture writes must be undone.
        self._in_teardown: dict[int, _UnattributedWrites | None] = {}

    @contextmanager
    def fixture_setup(self, fixture: pytest.FixtureDef[Any], request: Any) -> Iterator[None]:
        """Wrap the setup of a fixture wider than ``function``."""
        layer = self.active.create(fixture_label(fixture), _WIDTH[fixture.scope])
        shared = SharedFixture(fixture, request, layer)
        fixture.addfinalizer(
            lambda: self._after_teardown_of(shared)
        )  # added first, so it runs last
        with forgotten_unless_started(fixture, request), fails():
            unattributed = self._separate_earlier_writes()
        began = clocks.monotonic()
        self._in_setup.append(shared)
        try:
            yield
        except BaseException:
            self._abandon_setup(shared)
            raise
        finally:
            self._in_setup.remove(shared)
            if is_set_up(fixture):  # also if it has failed: it may have added finalizers
                # Added last, so it runs first.
                fixture.addfinalizer(lambda: self._before_teardown_of(shared))
        self.lost.discard(fixture)
        seconds = clocks.monotonic() - began
        try:
            self._add_layer(shared, unattributed)
        except BaseException as error:  # also a timeout
            finish(fixture, request)  # so that the next test sets it up again
            self._abandon_setup(shared)
            if isinstance(error, PgTemplateError):
                fail(error)
            raise
        if fixture in self._owned:
            self._report_layer(shared, seconds)

    def _abandon_setup(self, shared: SharedFixture) -> None:
        """Let a reset undo what a fixture has written whose setup failed, in any isolation."""
        with suppress(PgTemplateError):  # report the first error
            self._separate_writes(shared)
        self._owned.pop(shared.fixture, None)
        self.active.orphan(shared.layer)

    def _report_layer(self, shared: SharedFixture, seconds: float) -> None:
        request, layer = shared.request, shared.layer
        owner, rows = layer.owner, self.active.rows[layer.number]
        self._database.stats.layers.append((owner, request.node.nodeid, rows, seconds))
        if self._database.run.timeline is not None:
            self._database.run.timeline.add("layer", owner, seconds, rows=rows)
        if request.config.getoption("setupshow", False):
            _show_layer(request.config, f"{owner}: a layer of {rows} rows, {seconds:.3f} s")

    def discard_lost(self) -> None:
        """Forget all layers, because their database was lost."""
        self._lose([*self._owned.values()])
        self.active.clear()

    def _lose(self, fixtures: list[SharedFixture]) -> None:
        self.lost.add(fixtures)
        for each in fixtures:
            del self._owned[each.fixture]

    def remove_orphaned(self) -> None:
        """Remove the rows of fixtures whose setup failed, and keep those of tests."""
        if self.active.orphaned and self._separate_earlier_writes() is None:
            self._database.reset(self.active.orphaned, self._database.test)

    def require_in_scope(self, item: pytest.Item) -> None:
        """Raise LayerError if the scope of a fixture has ended, but its rows are still there."""
        outside = [each for each in self._owned.values() if not each.is_in_scope(item)]
        for each in outside:
            del self._owned[each.fixture]
            self.active.orphan(each.layer)
        if outside:
            owners = " and ".join(each.layer.owner for each in outside)
            raise LayerError(
                f"pytest has left the scope of {owners} without a teardown, so the rows are still"
                " in the database",
                hint="a plugin that runs tests again may lose the teardown of a fixture; the rows"
                " are removed after this test",
            )

    def _separate_earlier_writes(self) -> _UnattributedWrites | None:
        """Make everything written so far a layer, or return why that is not possible."""
        return self._separate_writes(self._in_setup[-1] if self._in_setup else None)

    def _separate_writes(self, shared: SharedFixture | None) -> _UnattributedWrites | None:
        """Do that for writes of a fixture; None: of the current test."""
        if (resetter := self._database.resetter) is None:
            return None
        layer = shared.layer if shared is not None else self.active.create(self._database.test, 0)
        with self._database.changing_state():
            result = resetter.try_add_layer(layer.number)
        if result is None:
            reason = "has a transaction open"
            return _UnattributedWrites(layer.owner, reason, resetter.current_xid())
        if result.reclone_reason is not None:
            reason = "has changed the schema"
            return _UnattributedWrites(layer.owner, reason, resetter.current_xid())
        if result.changes is not None:
            self.active.activate(layer, result.changes)
            if shared is not None:
                self._record_owner(shared, resetter)
            else:
                self.active.removed.append(layer.number)
        return None

    def _record_owner(self, shared: SharedFixture, resetter: Resetter) -> None:
        """Record that a fixture has an active layer, also if it writes nothing more or fails."""
        self._owned[shared.fixture] = shared
        self.active.require_independence(resetter, shared.layer)

    def _add_layer(self, shared: SharedFixture, unattributed: _UnattributedWrites | None) -> None:
        """Make what the fixture has written since its setup began its layer."""
        layer = shared.layer
        if (resetter := self._database.resetter) is None:
            return
        if unattributed is not None:
            if resetter.wrote_since(unattributed.xid):
                hint = "request the fixture as an argument of the test, so that it is set up first"
                raise unattributed.error(layer, "wrote to the database", hint)
            return
        with self._database.changing_state():  # without an answer, it may exist or not
            result = resetter.add_layer(layer.number)
        if result.reclone_reason is not None:
            raise SchemaChangedError(
                f"{layer.owner} changed the schema",
                hint="tests can share rows only; create tables in the migrations, and refresh"
                " materialized views in pg_seed",
            )
        if result.changes is not None:
            self.active.activate(layer, result.changes)
            self._record_owner(shared, resetter)
        self._database.report_leaks(result, layer.owner)

    def _before_teardown_of(self, shared: SharedFixture) -> None:
        """Separate what the teardown of a fixture writes from what the tests have written.

        If the fixture has a layer, also undo the writes of the test, so that the teardown finds the
        rows unchanged. What tests with a wider scope= mark have written stays.
        """
        has_layer = shared.fixture in self._owned
        if has_layer:
            self._database.finish_before_fixture_teardown()
        keeps_writes = self._database.keeps_writes
        if has_layer or keeps_writes:  # otherwise, a reset after all teardowns undoes all writes
            with fails():
                unattributed = self._separate_earlier_writes()
            self._in_teardown[shared.layer.number] = unattributed if keeps_writes else None

    def _after_teardown_of(self, shared: SharedFixture) -> None:
        """Remove the layer of a fixture, and undo what its teardown has written."""
        had_layer = self._owned.pop(shared.fixture, None) is not None
        must_undo = had_layer or shared.layer.number in self._in_teardown
        unattributed = self._in_teardown.pop(shared.layer.number, None)
        if self._database.worker is None or self._database.keeps_last_state or not must_undo:
            return
        if (resetter := self._database.resetter) is None:
            self.active.removed.append(shared.layer.number)  # a re-clone will leave it out
            return
        try:
            if had_layer:
                self._remove_layer(resetter, shared.layer, unattributed)
            elif unattributed is None:
                self._database.reset([], f"the teardown of {shared.layer.owner}")
            elif resetter.wrote_since(unattributed.xid):
                raise unattributed.error(shared.layer, "wrote to the database", SAME_SCOPE)
        except PgTemplateError as error:  # must be shown, also if the test is expected to fail
            raise self._database.run.reports.failure(error) from None

    def _remove_layer(
        self, resetter: Resetter, layer: Layer, unattributed: _UnattributedWrites | None
    ) -> None:
        """Remove a layer, and those that depend on it. Raises LayerError if they should stay."""
        dependents: list[Layer] = []
        error: LayerError | None = None
        if unattributed is not None:
            error = unattributed.error(layer, "is torn down", SAME_SCOPE)
        else:
            dependents, error = self.active.find_dependents(resetter, layer)
        self._lose([each for each in self._owned.values() if each.layer in dependents])
        with suppress(PgTemplateError) if error is not None else nullcontext():  # one is enough
            removed = [each.number for each in (layer, *dependents)]
            self._database.reset(removed, f"the teardown of {layer.owner}")
        if error is not None:
            raise error


def _show_layer(config: pytest.Config, line: str) -> None:
    """Write a line below the one that ``--setup-show`` has just written for the fixture."""
    with capture_disabled(config):
        writer = config.get_terminal_writer()
        writer.line()
        writer.write(f"        {line}")
