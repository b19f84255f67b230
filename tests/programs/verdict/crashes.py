import os
import pytest
from pathlib import Path


@pytest.fixture
def crash(pg):
    """After the error was claimed, before it can be reported."""


@pytest.mark.parametrize("n", range(6))
def test_one(n, pg): ...
