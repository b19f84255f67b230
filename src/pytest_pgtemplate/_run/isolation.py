"""Read how a test is isolated: from its ``pg`` markers, or else from the options."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pytest_pgtemplate._run.context import FAILED
from pytest_pgtemplate._settings import IsolationSettings
from pytest_pgtemplate._settings.options import KINDS, SCOPES
from pytest_pgtemplate.errors import ConfigurationError

# Of tests that share a state, the strongest kind of isolation removes what all have written.
_STRONGEST_FIRST = ("clone", "truncate", "rollback", "none")
_NODES: dict[str, type[pytest.Item | pytest.Collector]] = {
    "class": pytest.Class,
    "module": pytest.Module,
    "session": pytest.Session,
}


class Isolation(NamedTuple):
    """What happens to the database (``kind``) after the last test of a ``scope``."""

    kind: str
    scope: str

    def keeps_state(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | pytest.Collector | None,
        settings: IsolationSettings,
    ) -> bool:
        """Whether the next test keeps this test's state, because both have the same scope."""
        node = _NODES.get(self.scope)
        shared = item.getparent(node) if node is not None else None
        if node is None or shared is None or nextitem is None:
            return False
        if not isinstance(nextitem, pytest.Item):  # pytest-retry: the same test runs again
            return True
        if read_isolation(nextitem, settings, strict=False).scope != self.scope:
            return False
        return shared is nextitem.getparent(node)


class ScopeState:
    """What the tests that share a state have asked for, until the last test of their scope."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()
        self.first: str | None = None  # the node id of the first test
        self.failed: str | None = None  # and of the first failed one
        self.continues = False  # whether the next test keeps the state of the last one

    def add(
        self, item: pytest.Item, nextitem: pytest.Item | None, settings: IsolationSettings
    ) -> None:
        """Add a test of the scope. To add it again changes nothing."""
        isolation = read_isolation(item, settings, strict=False)
        self._kinds.add(isolation.kind)
        self.first = self.first or item.nodeid
        if item.stash.get(FAILED, False):
            self.failed = self.failed or item.nodeid
        self.continues = isolation.keeps_state(item, nextitem, settings)

    def describe(self, item: pytest.Item | None) -> str:
        """Name the current test, for messages; earlier tests may have written, too."""
        if item is None:
            return "a test"
        is_first = self.first in (None, item.nodeid)
        return f"test {item.nodeid}" + ("" if is_first else " or an earlier one of its scope")

    @property
    def kind(self) -> str:
        """The kind of isolation that removes what all of them have written."""
        return min(self._kinds, key=_STRONGEST_FIRST.index)


def read_isolation(
    item: pytest.Item, settings: IsolationSettings, *, strict: bool = True
) -> Isolation:
    """Read the ``pg`` markers of a test; the closest one takes precedence.

    Raises ConfigurationError for an invalid marker; if not ``strict``, the options apply then.
    """
    default = Isolation(settings.kind, settings.scope)
    try:
        return _read_markers(item, default)
    except ConfigurationError:
        if strict:
            raise
        return default


def _read_markers(item: pytest.Item, default: Isolation) -> Isolation:
    wanted = {"isolation": default.kind, "scope": default.scope}
    for mark in reversed(list(item.iter_markers("pg"))):
        if mark.args or not mark.kwargs.keys() <= wanted.keys():
            raise ConfigurationError(
                f"@pytest.mark.pg has invalid arguments: {_arguments(mark)}",
                hint="it accepts isolation= and scope=, as keywords",
            )
        wanted |= mark.kwargs
    _require_valid("isolation", wanted["isolation"], KINDS)
    _require_valid("scope", wanted["scope"], SCOPES)
    if wanted["isolation"] == "rollback" and wanted["scope"] != "function":
        raise ConfigurationError(
            f"isolation is rollback, which ends with each test, and scope is {wanted['scope']}",
            hint='tests that share what they write need isolation="truncate"',
        )
    return Isolation(wanted["isolation"], wanted["scope"])


def _require_valid(name: str, value: object, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ConfigurationError(
            f"@pytest.mark.pg({name}={value!r})", hint=f"{name} is one of {', '.join(valid)}"
        )


def _arguments(mark: pytest.Mark) -> str:
    named = (f"{name}={value!r}" for name, value in mark.kwargs.items())
    return ", ".join([*map(repr, mark.args), *named])
