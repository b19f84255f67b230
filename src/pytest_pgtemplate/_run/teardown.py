"""A test in its teardown."""

from __future__ import annotations

import pytest

from pytest_pgtemplate.errors import PgTemplateError

FAILED = pytest.StashKey[bool]()  # whether the setup or the call of an item failed


class Teardown:
    """The teardown of a test. ``isolated``: the reset has already run, with these ``errors``."""

    def __init__(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        self.item = item
        self.nextitem = nextitem
        self.isolated = False
        self.errors: list[PgTemplateError] = []
