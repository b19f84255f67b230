import sys
from pathlib import Path
from pytest_pgtemplate import _embedded
from pytest_pgtemplate._embedded import cluster


def spawn(where, command, real=cluster.spawn, **how):
    process = real(where, command, **how)
    pids[str(command[0])] = process.pid
    return process


pids, cluster.spawn = {}, spawn
hold = _embedded.acquire(Path(sys.argv[1]) if sys.argv[1] else None, timeout=60)
print(hold.url, pids.get(sys.executable, 0), flush=True)
sys.stdin.read()
hold.close()
hold.close()
