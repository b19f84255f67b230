"""Set fixtures up again whose rows were lost: their layers are not in the database any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from pytest_pgtemplate._internals.pytest import override_node
from pytest_pgtemplate._run.active_layers import SharedFixture
from pytest_pgtemplate._run.fixtures import finish
from pytest_pgtemplate.errors import LayerError


class LostFixtures:
    """The fixtures of one database whose rows are lost, until pytest has set them up again."""

    def __init__(self) -> None:
        self._lost: list[SharedFixture] = []  # they have not been torn down yet
        self._to_set_up: list[SharedFixture] = []  # torn down; they must be set up again

    def add(self, fixtures: Iterable[SharedFixture]) -> None:
        self._lost += fixtures

    def discard(self, fixture: pytest.FixtureDef[Any]) -> None:
        """Forget a fixture that pytest has set up again."""
        self._to_set_up = [each for each in self._to_set_up if each.fixture is not fixture]

    def finish_fixtures(self) -> LayerError | None:
        """Tear the fixtures down, and return the error to report."""
        lost, self._lost = self._lost, []
        if not lost:
            return None
        self._to_set_up += lost
        raised = [(each.layer.owner, finish(each.fixture, each.request)) for each in lost[::-1]]
        problems = [f"after that, the teardown of {who} failed: {e!r}" for who, e in raised if e]
        owners = " and ".join(each.layer.owner for each in lost)
        return LayerError(
            "\n".join([f"the rows of {owners} were lost", *problems]),
            hint="an error before this one or the log of the server has the reason, unless a"
            " parametrized fixture has replaced the database; for the tests after this one, pytest"
            " sets the fixture up again",
        )

    def request_fixtures(self, item: pytest.Item) -> None:
        """Make a test request the fixtures in whose scope it is: it may need their rows."""
        names: list[str] = getattr(item, "fixturenames", [])
        missing = [each.fixture.argname for each in self._missing(item)]
        names[:0] = [name for name in missing if name not in names]

    def require_none(self, item: pytest.Item) -> None:
        """Raise LayerError if a fixture in whose scope the test is was not set up again."""
        for each in self._missing(item):
            raise LayerError(
                f"the rows of {each.layer.owner} were lost, and it was not set up again",
                hint="let the test request the fixture by an argument",
            )

    def _missing(self, item: pytest.Item) -> Iterator[SharedFixture]:
        for each in (*self._lost, *self._to_set_up):
            if not each.is_in_scope(item):
                continue
            if override_node(item, each.fixture.argname) != each.fixture.baseid:
                continue  # for this test, another fixture of the same name replaces it
            # pytest has parametrized the tests that request it; for others it has no parameter.
            is_set_up_by_pytest = each.fixture.params is not None and each not in self._lost
            if not is_set_up_by_pytest:
                yield each
