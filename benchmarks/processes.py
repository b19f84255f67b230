"""CPU seconds and memory of processes: of this one's children, and of a server's."""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path


def cpu_seconds(server: int | None) -> float:
    """Of the children of this process, and of the server whose first process has this id.

    Of those that run and of those that have ended. The server's are known on Linux only.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = 0
    if server is not None and sys.platform == "linux":
        ticks = sum(_ticks(server)) + sum(sum(_ticks(pid)[:2]) for pid in _children(server))
    return used.ru_utime + used.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def machine_cpu_seconds() -> float:
    """Of all processes since the start of the machine (Linux only)."""
    ticks = [int(each) for each in _read("/proc/stat").partition("\n")[0].split()[1:]]
    idle = ticks[3:5]  # idle, and waiting for a disk
    return (sum(ticks[:8]) - sum(idle)) / os.sysconf("SC_CLK_TCK")


def memory(server: int) -> float:
    """What the processes of a server take, in MB; what they share counts once (Linux only)."""
    kilobytes = 0
    for pid in (server, *_children(server)):
        rollup = _read(f"/proc/{pid}/smaps_rollup")
        kilobytes += sum(map(int, re.findall(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)))
    return kilobytes / 1024


def _children(pid: int) -> Iterator[int]:
    yield from map(int, _read(f"/proc/{pid}/task/{pid}/children").split())


def _ticks(pid: int) -> list[int]:
    """User and system time of a process, and of its children that have ended."""
    return [int(ticks) for ticks in _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[11:15]]


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # the process has ended just now
        return ""
