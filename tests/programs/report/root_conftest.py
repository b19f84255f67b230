import os
import time
import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    began = time.perf_counter()
    try:
        return (yield)
    finally:
        with open("calls.log", "a") as log:
            log.write(f"{time.perf_counter() - began} {pyfuncitem.nodeid}\n")
