import pytest
from pytest_pgtemplate._reset import Resetter

original = Resetter.add_layer
calls = []


def add_layer(self, layer):
    result = original(self, layer)
    calls.append(layer)
    if len(calls) == 1:
        pytest.fail("a timeout, as of pytest-timeout")
    return result


Resetter.add_layer = add_layer
