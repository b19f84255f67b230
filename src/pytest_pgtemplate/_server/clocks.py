"""Wait for a process by a clock that no test can stop."""

from __future__ import annotations

import subprocess
import time

from pytest_pgtemplate._internals.clocks import monotonic

__all__ = ["monotonic", "wait_for_process"]

_POLL_INTERVALS = (0.001, 0.05)  # seconds: the first one, and the longest


def wait_for_process(process: subprocess.Popen[bytes], timeout: float) -> int | None:
    """Return the exit code, or None after ``timeout`` seconds.

    ``Popen.wait`` does the same with ``time.monotonic``, which freezegun replaces in it.
    """
    deadline = monotonic() + timeout
    interval, longest = _POLL_INTERVALS
    while (code := process.poll()) is None and monotonic() < deadline:
        time.sleep(interval)
        interval = min(2 * interval, longest)
    return code
