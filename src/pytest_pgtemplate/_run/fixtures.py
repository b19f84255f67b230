"""Functions for pytest fixtures wider than ``function``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from pytest_pgtemplate._internals.pytest import (
    finish_fixture,
    forget_unstarted_fixture,
    module_of_fixture,
)

_NON_WRITING_PACKAGES = ("pytest_pgtemplate", "pytest_asyncio")  # their fixtures write nothing


def finish(fixture: pytest.FixtureDef[Any], request: Any) -> BaseException | None:
    """Tear a fixture down, so that pytest sets it up again; return what its teardown raised."""
    try:
        finish_fixture(fixture, request)
    except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
        return error
    return None


@contextmanager
def forgotten_unless_started(fixture: pytest.FixtureDef[Any], request: Any) -> Iterator[None]:
    """If the body raises, pytest sets the fixture up again for the next test."""
    try:
        yield
    except BaseException:
        with suppress(Exception):  # one error is enough
            forget_unstarted_fixture(fixture, request)
        raise


def may_write(fixture: pytest.FixtureDef[Any]) -> bool:
    """Whether this fixture may write to the database."""
    return module_of_fixture(fixture).partition(".")[0] not in _NON_WRITING_PACKAGES


def fixture_label(fixture: pytest.FixtureDef[Any]) -> str:
    """Return the user's name for a fixture: pytest wraps ``setup_module`` in a fixture."""
    for hidden in ("setup_module", "setup_class", "setUpModule", "setUpClass"):
        if hidden in fixture.argname:
            return hidden
    return f'the {fixture.scope} fixture "{fixture.argname}"'
