"""Bring a worker's database back to the template's state, in one round trip."""

from pytest_pgtemplate._reset._resetter import Resetter

__all__ = ["Resetter"]
