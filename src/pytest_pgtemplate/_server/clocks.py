"""A clock that no test can stop: freezegun and time_machine replace the clocks of ``time``."""

from __future__ import annotations

import sys
import time

if sys.platform == "win32":
    _CLOCK = [time.monotonic]  # in a list, where freezegun does not replace it

    def monotonic() -> float:
        """Seconds since some moment in the past."""
        return _CLOCK[0]()

else:

    def monotonic() -> float:
        """Seconds since some moment in the past."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)
