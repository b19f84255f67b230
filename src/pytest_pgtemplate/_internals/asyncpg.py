"""Internals of asyncpg, tested with 0.29 to 0.32."""

from __future__ import annotations

import asyncio
import sys
from types import FrameType


def connection_loop_of_frame(frame: FrameType) -> asyncio.AbstractEventLoop | None:
    """The event loop of the connection whose method runs in ``frame``, else None.

    No public attribute names it. Asking costs nothing if asyncpg was never imported.
    """
    asyncpg = sys.modules.get("asyncpg")
    connection = frame.f_locals.get("self")
    if asyncpg is None or not isinstance(connection, asyncpg.Connection):
        return None
    loop: asyncio.AbstractEventLoop | None = getattr(connection, "_loop", None)
    return loop
