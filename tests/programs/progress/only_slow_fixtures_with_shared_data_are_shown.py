import pathlib
import time
import pytest


def wait(name):
    (pathlib.Path.cwd() / f"{name} waits").touch()
    while not (pathlib.Path.cwd() / f"go {name}").exists():
        time.sleep(0.02)


@pytest.fixture(scope="session")
def redis():
    wait("redis")


@pytest.fixture(scope="module")
def customer(redis, pg_shared):
    return pg_shared.url


@pytest.fixture(scope="class")
def orders(customer):
    wait("orders")


def test_it(orders):
    pass
