import functools
import random
import time
from pytest_pgtemplate._reset import Resetter
from pytest_pgtemplate._server import Server


def with_time_to_die(method):
    @functools.wraps(method)
    def slow(*arguments, **options):
        time.sleep(random.uniform(0, 0.1))
        try:
            return method(*arguments, **options)
        finally:
            time.sleep(random.uniform(0, 0.1))

    return slow


for name in "rename", "disallow_connections", "clone":
    setattr(Server, name, with_time_to_die(getattr(Server, name)))
Resetter.reset_all = with_time_to_die(Resetter.reset_all)
