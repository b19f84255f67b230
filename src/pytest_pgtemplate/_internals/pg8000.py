"""Internals of pg8000, tested with 1.31."""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

_CANCEL = 80877102  # CancelRequest of PostgreSQL's protocol
_TIMEOUT = 1.0  # seconds


def is_busy(connection: Any) -> bool:
    """Whether a thread waits for an answer of the server; False for connections of other drivers.

    pg8000 knows no state of a connection, and waits without a time limit. So the frames of all
    threads are searched for its methods.
    """
    core = sys.modules.get("pg8000.core")
    if core is None or not isinstance(connection, core.CoreConnection):
        return False
    return any(_is_in(frame, connection) for frame in sys._current_frames().values())


def _is_in(frame: FrameType | None, connection: Any) -> bool:
    while frame is not None:
        in_pg8000 = frame.f_globals.get("__name__") == "pg8000.core"
        if in_pg8000 and frame.f_locals.get("self") is connection:
            return True
        frame = frame.f_back
    return False


def cancel(connection: Any) -> None:
    """Cancel the query that the server executes, as libpq does: pg8000 has no function for it."""
    key = connection._backend_key_data
    with suppress(OSError), socket.socket(connection._usock.family) as other:
        other.settimeout(_TIMEOUT)
        other.connect(connection._usock.getpeername())
        other.sendall(struct.pack("!ii", 8 + len(key), _CANCEL) + key)
        other.recv(1)  # the server closes the socket
