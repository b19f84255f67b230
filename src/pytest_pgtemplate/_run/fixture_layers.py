"""Share data between tests: what a fixture wider than ``function`` writes becomes a layer.

A layer is added after the setup of its fixture and removed after its teardown. A reset restores the
template plus the active layers. If a test, or another such fixture, has written before the setup,
its writes become a separate layer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

from pytest_pgtemplate._internals import clocks
from pytest_pgtemplate._internals.pytest import capture_disabled, finish_fixture, override_node
from pytest_pgtemplate._run.error_reporter import fail, fails
from pytest_pgtemplate._run.fixtures import finish, fixture_label, forgotten_unless_started
from pytest_pgtemplate.errors import LayerError, PgTemplateError, SchemaChangedError

if TYPE_CHECKING:
    from pytest_pgtemplate._reset import ResetResult, Resetter
    from pytest_pgtemplate._run.context import RunContext
    from pytest_pgtemplate._run.stats import DatabaseStats
    from pytest_pgtemplate._worker import WorkerDatabase

_WIDTH = {"class": 1, "module": 2, "package": 3, "session": 4}  # a test: 0


class Layer(NamedTuple):
    """The writes of ``owner``: a fixture, or a test before it requested a fixture."""

    number: int
    owner: str
    width: int


class _Owned(NamedTuple):
    """A fixture that has a layer, and the request that has set it up."""

    fixture: pytest.FixtureDef[Any]
    request: Any
    layer: Layer


class _UnattributedWrites(NamedTuple):
    """Writes before the setup of a fixture that could not become a layer."""

    owner: str
    reason: str
    xid: str  # the current transaction id at that time


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
    def changing_state(self) -> AbstractContextManager[None]: ...
    def reset(self, removed: list[int], node_id: str) -> None: ...
    def report_leaks(self, result: ResetResult, node_id: str) -> None: ...
    def finish_before_fixture_teardown(self) -> None: ...


class FixtureLayers:
    """The layers of one database, with their owners."""

    def __init__(self, database: LayeredDatabase) -> None:
        self._database = database
        self._count = 0
        self._active: dict[int, Layer] = {}  # by number
        self._owned: dict[pytest.FixtureDef[Any], _Owned] = {}
        self._lost: list[_Owned] = []  # rows are lost; the fixture has not been torn down yet
        self._to_set_up: list[_Owned] = []  # torn down; they must be set up again
        self._in_setup: list[_Owned] = []  # fixtures whose setup runs, the innermost last
        self._rows: Counter[int] = Counter()  # added and removed, by the number of the layer
        self.removed: list[int] = []  # layers for the next reset to remove

    @contextmanager
    def fixture_setup(self, fixture: pytest.FixtureDef[Any], request: Any) -> Iterator[None]:
        """Wrap the setup of a fixture wider than ``function``."""
        layer = self._new_layer(fixture_label(fixture), _WIDTH[fixture.scope])
        owned = _Owned(fixture, request, layer)
        fixture.addfinalizer(lambda: self._remove_layer(fixture))  # added first, so it runs last
        with forgotten_unless_started(fixture, request), fails():
            unattributed = self._separate_earlier_writes()
        began = clocks.monotonic()
        self._in_setup.append(owned)
        try:
            yield
        except BaseException:
            if self._owned.pop(fixture, None) is not None:  # it has written before it requested
                self.removed.append(layer.number)
            raise
        finally:
            self._in_setup.remove(owned)
        self._to_set_up = [each for each in self._to_set_up if each.fixture is not fixture]
        seconds = clocks.monotonic() - began
        try:
            self._add_layer(owned, unattributed)
        except BaseException as error:  # also a timeout
            with suppress(Exception):  # report the first error
                finish_fixture(fixture, request)  # so that the next test sets it up again
            if isinstance(error, PgTemplateError):
                fail(error)
            raise
        if fixture in self._owned:
            # Added last, so it runs first.
            fixture.addfinalizer(lambda: self._before_teardown_of(fixture))
            self._report_layer(owned, seconds)

    def _report_layer(self, owned: _Owned, seconds: float) -> None:
        request, owner, rows = owned.request, owned.layer.owner, self._rows[owned.layer.number]
        self._database.stats.layers.append((owner, request.node.nodeid, rows, seconds))
        if self._database.run.timeline is not None:
            self._database.run.timeline.add("layer", owner, seconds, rows=rows)
        if request.config.getoption("setupshow", False):
            _show_layer(request.config, f"{owner}: a layer of {rows} rows, {seconds:.3f} s")

    @property
    def owners(self) -> list[str]:
        """The owners of the active layers."""
        return [layer.owner for layer in self._active.values()]

    def discard(self, numbers: Iterable[int]) -> None:
        """Forget layers that a reset has removed."""
        for number in list(numbers):
            self._active.pop(number, None)
            if number in self.removed:
                self.removed.remove(number)

    def discard_lost(self) -> None:
        """Forget all layers, because their database was lost."""
        self._lost += self._owned.values()
        self._owned.clear()
        self._active.clear()
        self.removed.clear()

    def finish_lost_fixtures(self) -> LayerError | None:
        """Tear down the fixtures whose layers are lost, and return the error to report."""
        lost, self._lost = self._lost, []
        if not lost:
            return None
        self._to_set_up += lost
        raised = [(each.layer.owner, finish(each.fixture, each.request)) for each in lost[::-1]]
        problems = [f"after that, the teardown of {who} failed: {e!r}" for who, e in raised if e]
        owners = " and ".join(each.layer.owner for each in lost)
        return LayerError(
            "\n".join([f"the rows of {owners} were lost with their database", *problems]),
            hint="the log of the server has the reason, unless a parametrized fixture has replaced"
            " the database; for the tests after this one, pytest sets the fixture up again",
        )

    def request_lost_fixtures(self, item: pytest.Item) -> None:
        """Make a test request the lost fixtures in whose scope it is: it may need their rows."""
        names: list[str] = getattr(item, "fixturenames", [])
        missing = [each.fixture.argname for each in self._missing(item)]
        names[:0] = [name for name in missing if name not in names]

    def require_all(self, item: pytest.Item) -> None:
        """Raise LayerError if a fixture in whose scope the test is has lost its rows."""
        for each in self._missing(item):
            raise LayerError(
                f"the rows of {each.layer.owner} were lost, and it was not set up again",
                hint="let the test request the fixture by an argument",
            )

    def _missing(self, item: pytest.Item) -> Iterator[_Owned]:
        for each in (*self._lost, *self._to_set_up):
            if each.request.node not in item.listchain():
                continue
            if override_node(item, each.fixture.argname) != each.fixture.baseid:
                continue  # for this test, another fixture of the same name replaces it
            # pytest has parametrized the tests that request it; for others it has no parameter.
            is_set_up_by_pytest = each.fixture.params is not None and each not in self._lost
            if not is_set_up_by_pytest:
                yield each

    def _new_layer(self, owner: str, width: int) -> Layer:
        self._count += 1
        return Layer(self._count, owner, width)

    def _separate_earlier_writes(self) -> _UnattributedWrites | None:
        """Make everything written so far a layer, or return why that is not possible."""
        if (resetter := self._database.resetter) is None:
            return None
        owned = self._in_setup[-1] if self._in_setup else None
        layer = owned.layer if owned is not None else self._new_layer(self._database.test, 0)
        with self._database.changing_state():
            result = resetter.try_add_layer(layer.number)
        if result is None:
            reason = "has a transaction open"
            return _UnattributedWrites(layer.owner, reason, resetter.current_xid())
        if result.reclone_reason is not None:
            reason = "has changed the schema"
            return _UnattributedWrites(layer.owner, reason, resetter.current_xid())
        if result.changes is not None:
            self._activate(layer, result.changes)
            if owned is not None:
                self._record_owner(owned, resetter)
            else:
                self.removed.append(layer.number)
        return None

    def _activate(self, layer: Layer, rows: int) -> None:
        self._active[layer.number] = layer
        self._rows[layer.number] += rows

    def _record_owner(self, owned: _Owned, resetter: Resetter) -> None:
        """Record that a fixture has an active layer, also if it writes nothing more or fails."""
        self._owned[owned.fixture] = owned
        layer = owned.layer
        below = [each.number for each in self._active.values() if each.width < layer.width]
        self._require_independence(resetter, below, [layer.number])

    def _add_layer(self, owned: _Owned, unattributed: _UnattributedWrites | None) -> None:
        """Make what the fixture has written since its setup began its layer."""
        layer = owned.layer
        if (resetter := self._database.resetter) is None:
            return
        if unattributed is not None:
            if resetter.wrote_since(unattributed.xid):
                raise LayerError(
                    f"{layer.owner} wrote to the database while {unattributed.owner}"
                    f" {unattributed.reason}, so the writes of the two cannot be separated",
                    hint="request the fixture as an argument of the test, so that its setup runs"
                    " first",
                )
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
            self._activate(layer, result.changes)
            self._record_owner(owned, resetter)
        self._database.report_leaks(result, layer.owner)

    def _require_independence(self, resetter: Resetter, below: list[int], above: list[int]) -> None:
        """Raise LayerError if a layer ``above``, which lasts longer, depends on one ``below``."""
        if not below or not above:
            return
        dependency = resetter.find_dependency(below, above)
        if dependency is not None:
            upper, lower = (self._active[number].owner for number in dependency)
            raise LayerError(
                f"{upper} refers to rows of {lower}, or has changed them, and is torn down later",
                hint="give that fixture a narrower scope, or write all these rows in one fixture",
            )

    def _before_teardown_of(self, fixture: pytest.FixtureDef[Any]) -> None:
        """Reset before the teardown of a fixture, so that it finds its rows unchanged."""
        if fixture not in self._owned:
            return
        self._database.finish_before_fixture_teardown()
        with fails():
            # Writes of tests with a wider scope= mark: they stay, the teardown's writes do not.
            self._separate_earlier_writes()

    def _remove_layer(self, fixture: pytest.FixtureDef[Any]) -> None:
        """Remove the layer of a fixture, and what its teardown has written."""
        owned = self._owned.pop(fixture, None)
        if owned is None or self._database.worker is None:
            return
        layer = owned.layer
        if (resetter := self._database.resetter) is None:
            self.removed.append(layer.number)  # a re-clone will leave it out
        elif not self._database.keeps_last_state:
            with fails():
                others = [number for number in self._active if number != layer.number]
                self._require_independence(resetter, [layer.number], others)
                self._database.reset([layer.number], f"the teardown of {layer.owner}")


def _show_layer(config: pytest.Config, line: str) -> None:
    """Write a line below the one that ``--setup-show`` has just written for the fixture."""
    with capture_disabled(config):
        writer = config.get_terminal_writer()
        writer.line()
        writer.write(f"        {line}")
