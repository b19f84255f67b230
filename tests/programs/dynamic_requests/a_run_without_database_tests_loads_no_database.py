import sys
import pytest


@pytest.fixture(scope="session", autouse=True)
def wide():
    yield


def test_fails():
    assert False


def test_modules():
    unused = ("isolated_database", "progress", "stats", "fixture_layers", "preparation")
    loaded = {name.rpartition(".")[2] for name in sys.modules if "pgtemplate" in name}
    assert "plugin" in loaded
    assert not loaded & {*unused}
