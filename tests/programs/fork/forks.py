import json
import os
import pytest
from _pytest.runner import runtestprotocol


def run_in_child(item):
    hook = item.config.hook
    reports = runtestprotocol(item, log=False)
    data = [hook.pytest_report_to_serializable(config=item.config, report=each) for each in reports]
    return json.dumps(data).encode()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    if not item.get_closest_marker("forked") and "FORK_ALL" not in os.environ:
        return None
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writer, run_in_child(item))
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    reports = (
        [pytest.TestReport._from_json(each) for each in json.loads(data)]
        if data
        else [pytest.TestReport(item.nodeid, item.location, {}, "failed", "the child died", "call")]
    )
    for each in reports:
        item.ihook.pytest_runtest_logreport(report=each)
    return True
