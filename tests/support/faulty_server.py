"""A proxy before a PostgreSQL server that lets one call to it fail.

A call is a request to connect, or whatever a client sends before it waits for an answer: up to a
Query or Sync message of the frontend/backend protocol. Calls are counted over all connections.
Nothing here is a test.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

KINDS = ("refused", "lost before", "lost after", "late")
# An ErrorResponse: severity, SQLSTATE, text.
REFUSAL = b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0"
CANCEL, ENCRYPTION = 80877102, {80877103, 80877104}  # codes in place of a protocol version
SOCKET = ".s.PGSQL.5432"
READY = b"Z"  # ReadyForQuery: the answer to a call is complete


class Caller(NamedTuple):
    """Which process made a call; 0 if the system does not tell."""

    pid: int
    moment: float  # of the monotonic clock


class Fault:
    """The ``number``-th call fails as ``kind`` says; the first is 1, and 0 lets none fail.

    refused      the server has no connection left; only requests to connect are counted
    lost before  the connection is lost before the server receives the call
    lost after   the server executes the call, and the connection is lost before it answers
    late         the answer arrives ``delay`` seconds late

    Only calls that contain ``text`` are counted.
    """

    def __init__(
        self, kind: str = "refused", number: int = 0, *, delay: float = 0, text: str = ""
    ) -> None:
        self.kind = kind
        self.number = number
        self.delay = delay
        self._text = text
        self.callers: list[Caller] = []
        self.failed = ""  # the call that failed

    @property
    def calls(self) -> int:
        return len(self.callers)

    def strikes(self, call: str, pid: int, *, connects: bool = False) -> bool:
        """Count a call of a process, and return whether it is the one that has to fail."""
        if (self.kind == "refused" and not connects) or self._text not in call:
            return False
        self.callers.append(Caller(pid, time.monotonic()))
        if self.calls != self.number:
            return False
        self.failed = call
        return True


class FaultyServer:
    """A proxy in ``directory`` for the server with the socket ``behind``."""

    def __init__(self, directory: Path, behind: Path) -> None:
        self.fault = Fault()
        self._path = directory / SOCKET
        self._behind = behind

    async def serve(self, started: Callable[[], None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_unix_server(self._connected, self._path)
        self._path.chmod(0o777)
        started()
        await self._stop.wait()
        server.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    async def _connected(self, client: StreamReader, to_client: StreamWriter) -> None:
        try:
            server, to_server = await asyncio.open_unix_connection(self._behind)
        except OSError:
            to_client.close()
            return
        with suppress(OSError, EOFError):  # one of the two has closed the connection
            await _Connection(self.fault, client, to_client, server, to_server).run()
        for writer in (to_client, to_server):
            writer.close()


class _Connection:
    """One client, and its connection to the server."""

    def __init__(
        self,
        fault: Fault,
        client: StreamReader,
        to_client: StreamWriter,
        server: StreamReader,
        to_server: StreamWriter,
    ) -> None:
        self._fault = fault
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._pid = _pid_of(to_client.get_extra_info("socket"))
        self._answer_fault = ""  # the fault that changes the answer to the current call
        self._statement = ""
        self._prepared: dict[bytes, str] = {}  # by name

    async def run(self) -> None:
        if await self._start():
            both = [asyncio.create_task(each) for each in (self._requests(), self._answers())]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
            for result in await asyncio.gather(*both, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    async def _start(self) -> bool:
        """Forward the startup message. Returns False if nothing follows it."""
        while True:
            length = await self._client.readexactly(4)
            rest = await self._client.readexactly(struct.unpack("!I", length)[0] - 4)
            [code] = struct.unpack("!I", rest[:4])
            if code not in ENCRYPTION:
                break
            self._to_client.write(b"N")
        if code == CANCEL:
            self._to_server.write(length + rest)
            return False
        if self._fault.strikes(f"connect {rest[4:]!r}", self._pid, connects=True):
            if self._fault.kind == "refused":
                self._to_client.write(b"E" + struct.pack("!I", len(REFUSAL) + 4) + REFUSAL)
            if self._fault.kind in {"refused", "lost before"}:
                return False
            self._answer_fault = self._fault.kind
        self._to_server.write(length + rest)
        return True

    async def _requests(self) -> None:
        while True:
            kind, message = await _read_message(self._client)
            self._note_statement(kind, message[5:])
            if kind in b"QS" and self._fault.strikes(self._statement, self._pid):
                if self._fault.kind == "lost before":
                    return
                self._answer_fault = self._fault.kind
            self._to_server.write(message)
            await self._to_server.drain()

    def _note_statement(self, kind: bytes, body: bytes) -> None:
        """Follow the messages Query, Parse and Bind."""
        first, second, *_ = [*body.split(b"\0", 2), b"", b""]
        if kind == b"Q":
            self._statement = first.decode(errors="replace")
        elif kind == b"P":
            self._statement = self._prepared[first] = second.decode(errors="replace")
        elif kind == b"B":
            self._statement = self._prepared.get(second, "")

    async def _answers(self) -> None:
        while True:
            kind, message = await _read_message(self._server)
            if self._answer_fault == "late":
                self._answer_fault = ""
                await asyncio.sleep(self._fault.delay)
            elif self._answer_fault:
                if kind == READY:
                    return
                continue
            self._to_client.write(message)
            await self._to_client.drain()


def _pid_of(client: socket.socket) -> int:
    """Return the process that has connected to our socket."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


async def _read_message(reader: StreamReader) -> tuple[bytes, bytes]:
    """A message of the protocol: its type, and all of it."""
    head = await reader.readexactly(5)
    [length] = struct.unpack("!I", head[1:])
    return head[:1], head + await reader.readexactly(length - 4)


@contextmanager
def faulty_server(directory: Path, behind: Path) -> Iterator[FaultyServer]:
    """Run the proxy in a thread. The host of a URL is ``directory``, the port 5432."""
    server, ready = FaultyServer(directory, behind), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=[server.serve(ready.set)])
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
