import functools
import itertools
import os
import pathlib
import threading
import time
from pytest_pgtemplate._server import portal

MOMENT, AIM = int(os.environ.get("CHAOS_MOMENT", "0")), os.environ.get("CHAOS_AIM", "")
moments = itertools.count(1)


def reach_moment():
    if MOMENT and threading.current_thread().name == "pgtemplate-preparation":
        if next(moments) == MOMENT:
            pathlib.Path(AIM, f"{os.getpid()}.stopped").touch()
            while not pathlib.Path(AIM, "continue").exists():
                time.sleep(0.005)


def with_moments(run):
    @functools.wraps(run)
    def run_with_moments(coroutine, *, timeout):
        reach_moment()
        try:
            return run(coroutine, timeout=timeout)
        finally:
            reach_moment()

    return run_with_moments


portal.run = with_moments(portal.run)
