"""Clocks that no test can change: freezegun and time_machine replace those of ``time``.

Tested with freezegun 1.5 and time_machine 3.6. tests/test_clocks.py fails first if they change.
"""

from __future__ import annotations

import sys
import time

if sys.platform == "win32":
    _CLOCK = [time.monotonic]  # in a list, where freezegun does not replace it

    def monotonic() -> float:
        """Seconds since some moment in the past, the same one for all processes."""
        return _CLOCK[0]()

else:

    def monotonic() -> float:
        """Seconds since some moment in the past, the same one for all processes."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)


class WallClock:
    """Continues the ``time.time()`` of its creation, which must be before the first test.

    time_machine replaces ``clock_gettime(CLOCK_REALTIME)``, too.
    """

    def __init__(self) -> None:
        self._offset = time.time() - monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._offset + monotonic()
