"""A clock that no test can stop: freezegun and time_machine replace the clocks of ``time``."""

from __future__ import annotations

import subprocess
import sys
import time

_POLL_INTERVALS = (0.001, 0.05)  # seconds: the first one, and the longest

if sys.platform == "win32":
    _CLOCK = [time.monotonic]  # in a list, where freezegun does not replace it

    def monotonic() -> float:
        """Seconds since some moment in the past."""
        return _CLOCK[0]()

else:

    def monotonic() -> float:
        """Seconds since some moment in the past."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)


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
