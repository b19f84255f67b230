"""The admin connection after failures of the network."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server.session import LOCK_SEED
from support.projects import execute, query, unique

HOLDERS = """
SELECT pid FROM pg_locks
 WHERE locktype = 'advisory' AND (classid::bigint << 32) | objid::bigint = hashtextextended($1, $2)
"""
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pytest-pgtemplate'"
# A ParameterStatus of the proxy's own: who has it has read what the server said before.
LAST_WORD = b"S\0\0\0\x12last_word\0yes\0"


class Proxy(threading.Thread):
    """TCP connections to a server that can be cut on one side, as by a router on the way."""

    def __init__(self, url: URL) -> None:
        super().__init__(daemon=True)
        self._socket = f"{url.query['host']}/.s.PGSQL.{url.query['port']}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._all: list[tuple[socket.socket, socket.socket]] = []
        self._cut: list[socket.socket] = []
        self.keeps_ends = False  # True: one side is not closed when the other is
        self.url = url.set(host="127.0.0.1", port=self._listener.getsockname()[1], query={})

    def run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._socket)
                self._pairs.append((client, server))
                self._all.append((client, server))
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            if self.keeps_ends:
                sink.sendall(LAST_WORD)
            elif sink not in self._cut:
                sink.shutdown(socket.SHUT_RDWR)

    def cut(self) -> Callable[[], None]:
        """End the client's side of all connections; return how to end the server's."""
        pairs, self._pairs = self._pairs, []
        self._cut += [server for _, server in pairs]
        for client, _ in pairs:
            client.shutdown(socket.SHUT_RDWR)

        def end() -> None:
            for _, server in pairs:
                server.shutdown(socket.SHUT_RDWR)

        return end

    def close(self) -> None:
        for each in [self._listener, *(side for pair in self._all for side in pair)]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
            each.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline


def test_a_lease_is_claimed_again_when_its_old_session_ends_late(private_url: URL) -> None:
    """Until the server notices that a client is disconnected, it keeps the client's locks."""
    name = unique("name")
    proxy = Proxy(private_url)
    proxy.start()
    owner = Server(proxy.url, timeout=60)
    owner.lease(name)

    def pids(sql: str, *arguments: object) -> set[int]:
        return {row["pid"] for row in query(private_url, sql, *arguments)}

    old = pids(HOLDERS, name, LOCK_SEED)
    before = pids(SESSIONS)
    end = proxy.cut()
    until(lambda: bool(pids(SESSIONS) - before))
    assert pids(HOLDERS, name, LOCK_SEED) == old
    end()

    until(lambda: bool(pids(HOLDERS, name, LOCK_SEED) - old))
    owner.close()
    proxy.close()


@pytest.mark.full
def test_a_terminated_connection_that_is_still_open_is_replaced(
    private_url: URL,
) -> None:
    """The server's last word comes before the end of the stream, now and then much earlier."""
    name = unique("name")
    proxy = Proxy(private_url)
    proxy.start()
    owner = Server(proxy.url, timeout=60)
    owner.lease(name)
    (old,) = (row["pid"] for row in query(private_url, HOLDERS, name, LOCK_SEED))
    proxy.keeps_ends = True
    execute(private_url, f"SELECT pg_terminate_backend({old})")
    connection = owner._session._connection
    assert connection is not None
    until(lambda: hasattr(connection.get_settings(), "last_word"))
    assert not connection.is_closed()

    assert owner._fetch("SELECT pg_backend_pid()")[0][0] != old
    assert [row["pid"] for row in query(private_url, HOLDERS, name, LOCK_SEED)] != [old]
    owner.close()
    proxy.close()
