"""A server that only resembles PostgreSQL: a proxy that refuses some statements of a real server.

Nothing here is a test.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BufferedIOBase
from socketserver import StreamRequestHandler, ThreadingTCPServer

from sqlalchemy.engine import URL

READY = b"Z\0\0\0\x05I"  # for the next statement


@dataclass
class CompatibleServer:
    """``unlearned``: words of the refused statements, with the SQLSTATE of the error."""

    url: URL
    unlearned: dict[str, str]
    connections: int = 0

    def sqlstate(self, message: bytes) -> str | None:
        found = (code for words, code in self.unlearned.items() if words.encode() in message)
        return next(found, None) if message[:1] in b"QP" else None


class _Handler(StreamRequestHandler):
    """One session: passes on what it is sent, but for the statements that are unlearned."""

    def __init__(self, owner: CompatibleServer, real: str, *what: object) -> None:
        self.owner, self.real = owner, real
        super().__init__(*what)  # type: ignore[arg-type]

    def handle(self) -> None:
        self.owner.connections += 1
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(self.real)
            back = threading.Thread(target=self._answer, args=[server])
            back.start()
            server.sendall(_rest(self.rfile))
            while message := _message(self.rfile):
                if not (sqlstate := self.owner.sqlstate(message)):
                    server.sendall(message)
                    continue
                self.wfile.write(_error(sqlstate))
                while message[:1] not in b"QS":  # skips what else belongs to a prepared statement
                    message = _message(self.rfile)
                self.wfile.write(READY)
            server.shutdown(socket.SHUT_RDWR)
            back.join()

    def _answer(self, server: socket.socket) -> None:
        with suppress(OSError):  # the client may not wait for the end
            while some := server.recv(65536):
                self.wfile.write(some)
            self.connection.shutdown(socket.SHUT_RDWR)


def _message(client: BufferedIOBase) -> bytes:
    kind = client.read(1)
    return kind + _rest(client) if kind else b""


def _rest(client: BufferedIOBase) -> bytes:
    length = client.read(4)
    return length + client.read(int.from_bytes(length, "big") - 4)


def _error(sqlstate: str) -> bytes:
    what = f"SERROR\0VERROR\0C{sqlstate}\0Munimplemented\0\0".encode()
    return b"E" + (len(what) + 4).to_bytes(4, "big") + what


@contextmanager
def compatible_server(
    server: URL, unlearned: dict[str, str] | None = None
) -> Iterator[CompatibleServer]:
    """Run one before the server at this socket."""
    real = f"{server.query['host']}/.s.PGSQL.{server.query['port']}"
    stand_in = CompatibleServer(server, unlearned or {})
    with ThreadingTCPServer(("127.0.0.1", 0), partial(_Handler, stand_in, real)) as listener:
        # No TLS is asked for: that would be a message of another form.
        host, port = listener.server_address[:2]
        stand_in.url = server.set(host=str(host), port=port, query={"sslmode": "disable"})
        thread = threading.Thread(target=listener.serve_forever, args=[0.05])
        thread.start()
        yield stand_in
        listener.shutdown()
        thread.join()
