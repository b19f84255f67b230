"""Data that many tests share: what a fixture wider than ``function`` writes becomes a layer.

A layer comes up when its fixture has been set up, and goes when the fixture does. A reset goes back
to the template and the layers that are up. What was written before such a fixture began, by the
test that asked for it or by another such fixture, becomes a layer, too: so the two are told apart.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

from pytest_pgtemplate._internals.pytest import capture_disabled, finish_fixture, module_of_fixture
from pytest_pgtemplate._run.error_reporter import fail, fails
from pytest_pgtemplate.errors import LayerError, PgTemplateError, SchemaChangedError

if TYPE_CHECKING:
    from pytest_pgtemplate._reset import ResetResult, Resetter
    from pytest_pgtemplate._run.context import RunContext
    from pytest_pgtemplate._run.stats import DatabaseStats
    from pytest_pgtemplate._worker import WorkerDatabase

_NON_WRITING_PACKAGES = (
    "pytest_pgtemplate",
    "pytest_asyncio",
)  # whose fixtures make an engine, a loop
_WIDTH = {"class": 1, "module": 2, "package": 3, "session": 4}  # a test has 0


class Layer(NamedTuple):
    """What ``owner`` has written: a fixture, or a test before it asked for one."""

    number: int
    owner: str
    width: int


class _UnattributedWrites(NamedTuple):
    """Somebody had written, and it could not be made a layer when a fixture began."""

    owner: str
    why: str
    moment: str


class LayeredDatabase(Protocol):
    """What the layers ask of the database that they are in."""

    run: RunContext
    stats: DatabaseStats
    worker: WorkerDatabase | None

    @property
    def resetter(self) -> Resetter | None: ...
    @property
    def test(self) -> str: ...
    @property
    def keeps_last_state(self) -> bool: ...
    def reset(self, removed: list[int], node_id: str) -> None: ...
    def report_leaks(self, result: ResetResult, node_id: str) -> None: ...
    def finish_before_fixture_teardown(self) -> None: ...


class FixtureLayers:
    """The layers of a database of this process, and whose they are."""

    def __init__(self, database: LayeredDatabase) -> None:
        self._database = database
        self._count = 0
        self._active: dict[int, Layer] = {}  # by number
        self._of_fixture: dict[pytest.FixtureDef[Any], Layer] = {}
        self._in_setup: list[Layer] = []  # fixtures, the innermost last
        self.removed: list[int] = []  # what the next reset takes down

    @contextmanager
    def fixture_setup(self, fixture: pytest.FixtureDef[Any], request: Any) -> Iterator[None]:
        """Around the setup of a fixture wider than ``function``."""
        layer = self._new(fixture_label(fixture), _WIDTH[fixture.scope])
        fixture.addfinalizer(lambda: self._remove_layer_of(fixture))  # added first, it runs last
        unattributed = self._separate_earlier_writes()
        began = time.perf_counter()
        self._in_setup.append(layer)
        try:
            yield
        finally:
            self._in_setup.remove(layer)
        seconds = time.perf_counter() - began
        try:
            changes = self._add_layer(fixture, layer, unattributed)
        except PgTemplateError as error:
            with suppress(Exception):  # one error is enough
                finish_fixture(fixture, request)  # for the next test it may well succeed
            fail(error)
        if changes is not None:
            fixture.addfinalizer(self._before_teardown)  # added last, it runs first
            self._database.stats.layers.append((layer.owner, request.node.nodeid, changes, seconds))
            if self._database.run.timeline is not None:
                self._database.run.timeline.add("layer", layer.owner, seconds, rows=changes)
            if request.config.getoption("setupshow", False):
                _show_layer(
                    request.config, f"{layer.owner}: a layer of {changes} rows, {seconds:.3f} s"
                )

    @property
    def owners(self) -> list[str]:
        """Whose layers are up."""
        return [layer.owner for layer in self._active.values()]

    def discard(self, numbers: Iterable[int]) -> None:
        """A reset has taken them down."""
        for number in list(numbers):
            self._active.pop(number, None)
            if number in self.removed:
                self.removed.remove(number)

    def mark_lost(self) -> None:
        """The database they were in is gone, and so are they: who needs them skips."""
        for fixture, layer in self._of_fixture.items():
            error = LayerError(
                f"what {layer.owner} wrote was lost with the connection to its database",
                hint="run again; the server's log may tell why the connection broke",
            )
            self._database.run.reports.mark_broken(fixture.argname, error)
        self._of_fixture.clear()
        self._active.clear()
        self.removed.clear()

    def _new(self, owner: str, width: int) -> Layer:
        self._count += 1
        return Layer(self._count, owner, width)

    def _separate_earlier_writes(self) -> _UnattributedWrites | None:
        """Make a layer of what has been written, or say why it cannot be one."""
        if (resetter := self._database.resetter) is None:
            return None
        layer = self._in_setup[-1] if self._in_setup else self._new(self._database.test, 0)
        result = resetter.try_add_layer(layer.number)
        if result is None:
            return _UnattributedWrites(
                layer.owner, "has a transaction open", resetter.current_xid()
            )
        if result.reclone_reason is not None:
            return _UnattributedWrites(
                layer.owner, "has changed the schema", resetter.current_xid()
            )
        if result.changes is not None:
            self._active[layer.number] = layer
            if not layer.width:
                self.removed.append(layer.number)
        return None

    def _add_layer(
        self,
        fixture: pytest.FixtureDef[Any],
        layer: Layer,
        unattributed: _UnattributedWrites | None,
    ) -> int | None:
        """How many rows came or went; None when the fixture has changed nothing."""
        if (resetter := self._database.resetter) is None:
            return None
        if unattributed is not None:
            if resetter.wrote_since(unattributed.moment):
                raise LayerError(
                    f"{layer.owner} wrote to the database while {unattributed.owner}"
                    f" {unattributed.why}, so what the two did cannot be told apart",
                    hint="let the test name the fixture as an argument, so that it is set up first",
                )
            return None
        result = resetter.add_layer(layer.number)
        if result.reclone_reason is not None:
            raise SchemaChangedError(
                f"{layer.owner} changed the schema",
                hint="tests can share rows; tables belong to the migrations, and so does a"
                " materialized view, which pg_seed may refresh",
            )
        if result.changes is not None:
            self._active[layer.number] = self._of_fixture[fixture] = layer
            below = [each.number for each in self._active.values() if each.width < layer.width]
            self._check(resetter, below, [layer.number])
        self._database.report_leaks(result, layer.owner)
        return result.changes

    def _check(self, resetter: Resetter, below: list[int], above: list[int]) -> None:
        """Raise LayerError when one ``above``, which will stay longer, depends on one ``below``."""
        if not below or not above:
            return
        dependency = resetter.find_dependency(below, above)
        if dependency is not None:
            upper, lower = (self._active[number].owner for number in dependency)
            raise LayerError(
                f"{upper} refers to rows of {lower}, or has changed them, and outlasts it",
                hint="let what refers have the narrower scope, or write both in one fixture",
            )

    def _before_teardown(self) -> None:
        """A fixture finds what it wrote as it was: what its last test wrote is gone by then."""
        self._database.finish_before_fixture_teardown()
        with fails():
            # What the tests share for longer than they share the fixture.
            self._separate_earlier_writes()

    def _remove_layer_of(self, fixture: pytest.FixtureDef[Any]) -> None:
        """The fixture has gone, and what its teardown wrote goes, too."""
        layer = self._of_fixture.pop(fixture, None)
        if layer is None or self._database.worker is None:
            return
        if (resetter := self._database.resetter) is None:
            self.removed.append(layer.number)  # the database is to be cloned afresh, without it
        elif not self._database.keeps_last_state:
            with fails():
                others = [number for number in self._active if number != layer.number]
                self._check(resetter, [layer.number], others)
                self._database.reset([layer.number], f"the teardown of {layer.owner}")


def may_write(fixture: pytest.FixtureDef[Any]) -> bool:
    """Whether to ask the server what this fixture has written."""
    return module_of_fixture(fixture).partition(".")[0] not in _NON_WRITING_PACKAGES


def fixture_label(fixture: pytest.FixtureDef[Any]) -> str:
    """What its user calls it: pytest makes fixtures of ``setup_module`` and the like."""
    for hidden in ("setup_module", "setup_class", "setUpModule", "setUpClass"):
        if hidden in fixture.argname:
            return hidden
    return f'the {fixture.scope} fixture "{fixture.argname}"'


def _show_layer(config: pytest.Config, line: str) -> None:
    """As ``--setup-show`` does, which has just told that the fixture was set up."""
    with capture_disabled(config):
        writer = config.get_terminal_writer()
        writer.line()
        writer.write(f"        {line}")
