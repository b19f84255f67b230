import sys
from pathlib import Path
from freezegun import freeze_time
from pytest_pgtemplate._server.file_locks import Timeout, acquire, file_lock

lock = Path(sys.argv[1])
with file_lock(lock), freeze_time("2098-01-01"):
    try:
        acquire(file_lock(lock), timeout=0.5, poll_interval=0.01)
    except Timeout:
        print("in time")
