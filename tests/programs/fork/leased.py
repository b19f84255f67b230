import os
import signal
import sys
from pathlib import Path


def test_it(pg_database):
    pid = os.fork()
    if not pid:
        while True:
            signal.pause()
    Path("forked").write_text(str(pid))
    os.kill(os.getpid(), 9)
