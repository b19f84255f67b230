import os
from pathlib import Path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    if call.excinfo is not None and "division by zero" in str(call.excinfo.value):
        try:
            Path(__file__).with_name("crashed").touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os._exit(1)
    return (yield)
