from pytest_pgtemplate._reset import Resetter

original = Resetter.reset
fails = []  # not empty: the next reset fails


def reset(self, *arguments, **keywords):
    if fails:
        fails.clear()
        raise pytest.fail.Exception("a timeout, as of pytest-timeout")
    return original(self, *arguments, **keywords)


Resetter.reset = reset
