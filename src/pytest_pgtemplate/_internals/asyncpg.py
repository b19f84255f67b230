"""Internals of asyncpg, tested with 0.29 to 0.32."""

from __future__ import annotations

import asyncio
import os
import sys
from types import FrameType
from typing import Any


def connection_loop_of_frame(frame: FrameType) -> asyncio.AbstractEventLoop | None:
    """The event loop of the connection whose method runs in ``frame``, else None.

    No public attribute has it. Costs nothing if asyncpg was never imported.
    """
    asyncpg = sys.modules.get("asyncpg")
    connection = frame.f_locals.get("self")
    if asyncpg is None or not isinstance(connection, asyncpg.Connection):
        return None
    loop: asyncio.AbstractEventLoop | None = getattr(connection, "_loop", None)
    return loop


def disconnect_in_fork(connection: Any) -> None:
    """Close the socket of ``connection`` in this process only, which has been forked.

    ``close`` and ``terminate`` would end the session of the parent, or touch its event loop. No
    public attribute has the socket. Its descriptor stays valid but is not connected, so the objects
    that hold it can close it whenever they are collected.
    """
    transport = connection._transport
    socket = transport.get_extra_info("socket") if transport is not None else None
    if socket is not None and socket.fileno() >= 0:
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, socket.fileno(), inheritable=False)
        os.close(nowhere)
