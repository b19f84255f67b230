"""A private PostgreSQL server: started by the first run, stopped when the last one has left.

    binaries -> cluster -> a share of users.lock -> keeper -> server -> Hold

``keeper`` tells which locks there are, and stops the server. ``cluster`` launches it, on the
``data`` that initdb has made, and ``tcp`` is its port. Nothing waits without a limit.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_pgtemplate._embedded import keeper, tcp
from pytest_pgtemplate._embedded.cluster import (
    OWN_CACHE,
    OWN_SERVER,
    Cluster,
    choose_tcp,
    failed,
    launch,
    launch_keeper,
    locate,
    make_directories,
    start_log,
)
from pytest_pgtemplate._embedded.data import rebuild
from pytest_pgtemplate.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NO_ANSWER = 10.0  # seconds without an answer until the remains of a server are given up
_STOP = 60.0  # seconds that ``stop`` waits for a server that is being started

_known_ports: dict[Path, int] = {}  # which port this process believes that a server has


class ServerHandle:
    """A share in the server, which stays up until ``close``, or the end of this process."""

    def __init__(self, cluster: Cluster, users: int) -> None:
        self.url = cluster.url
        self._users: int | None = users

    def close(self) -> None:
        """Leave; the server stops when nobody else is left. May be called again."""
        users, self._users = self._users, None
        if users is not None:
            os.close(users)


@dataclass(frozen=True)
class Status:
    """What is known of the server without joining it."""

    running: bool
    in_use: bool
    pid: int | None
    url: str = field(repr=False)  # there may be a password in it
    password: Path | None  # the file that holds it, where one is asked for
    version: str
    source: str
    data: Path
    log: Path


# Which server: the programs in ``bindir``, or the first that are found; of this major ``version``,
# if one is given; with a port on 127.0.0.1, if it shall ``listen``.


def url_of(
    bindir: Path | None, version: int | None = None, listen: bool = False, *, timeout: float = 60
) -> str:
    """The URL that the server has, or will have. Raises ``EmbeddedServerError``.

    Nothing is made, but for port and password of a server that has none yet.
    """
    cluster = locate(bindir, version, listen)
    with _explain_os_errors(cluster):
        return _with_port(cluster, time.monotonic() + timeout).url


def acquire(
    bindir: Path | None, version: int | None = None, listen: bool = False, *, timeout: float
) -> ServerHandle:
    """Join the server within ``timeout`` seconds, and start it if need be.

    Raises ``EmbeddedServerError``.
    """
    cluster = locate(bindir, version, listen)
    deadline = time.monotonic() + timeout
    with _explain_os_errors(cluster):
        make_directories(cluster)
        cluster = _with_port(cluster, deadline)
        # Before looking at the server: from here on no keeper stops it.
        users = _wait_for_lock(cluster.dir / "users.lock", deadline, shared=True)
        try:
            os.utime(users)
            with _start_lock(cluster, deadline):
                _ensure_keeper(cluster)
                _ensure_server(cluster, deadline)
        except BaseException:
            os.close(users)
            raise
    return ServerHandle(cluster, users)


def status(bindir: Path | None, version: int | None = None, listen: bool = False) -> Status | None:
    """How the server is doing; None when there has never been one."""
    cluster = locate(bindir, version, listen)
    if not cluster.data.exists():
        return None
    running = _answers(cluster)
    return Status(
        running=running,
        in_use=_in_use(cluster),
        pid=keeper.postmaster(cluster.data)[0] if running else None,
        url=cluster.url,
        password=tcp.password_file(cluster.dir) if cluster.tcp else None,
        version=cluster.binaries.version,
        source=cluster.binaries.source,
        data=cluster.data,
        log=cluster.log,
    )


def stop(bindir: Path | None, version: int | None = None, listen: bool = False) -> bool:
    """Stop the server now, also when it is in use; False when there was none."""
    cluster = locate(bindir, version, listen)
    if not cluster.data.exists():
        return False
    with _start_lock(cluster, time.monotonic() + _STOP):
        return keeper.stop_server(cluster.data, cluster.socket)


@contextmanager
def _explain_os_errors(cluster: Cluster) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedServerError(
            f"The embedded server cannot work in {cluster.dir}: {error}", hint=OWN_CACHE
        ) from error


def _with_port(cluster: Cluster, deadline: float) -> Cluster:
    """Choose a port for a server that listens and has none, or whose port somebody else has.

    It stays the same for as long as anybody uses the server.
    """
    if not cluster.listens:
        return cluster
    make_directories(cluster)
    with _start_lock(cluster, deadline):
        chosen = tcp.read(cluster.dir)
        usable = chosen and (chosen.free or keeper.alive(cluster.data) or _in_use(cluster))
        cluster = cluster._replace(tcp=chosen) if usable else choose_tcp(cluster)
    known = _known_ports.setdefault(cluster.dir, cluster.port)
    if known != cluster.port:
        raise EmbeddedServerError(
            f"Another program has taken port {known}, which the embedded server was to have.",
            hint="Run again: it has another one now.",
        )
    return cluster


def _in_use(cluster: Cluster) -> bool:
    users = keeper.try_lock(cluster.dir / "users.lock")
    if users is not None:
        os.close(users)
    return users is None


def _wait_for_lock(path: Path, deadline: float, *, shared: bool = False) -> int:
    while (lock := keeper.try_lock(path, shared=shared)) is None:
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"The embedded server was not to be had in time: somebody else holds {path}.",
                hint=f"Raise pg_timeout, or {OWN_SERVER}",
            )
        time.sleep(0.005)
    return lock


@contextmanager
def _start_lock(cluster: Cluster, deadline: float) -> Iterator[None]:
    """One at a time: whoever starts or stops this server."""
    lock = _wait_for_lock(cluster.dir / "start.lock", deadline)
    try:
        yield
    finally:
        os.close(lock)


def _ensure_keeper(cluster: Cluster) -> None:
    """Comes before the server, so that no server is ever left without a keeper."""
    lock = keeper.try_lock(cluster.dir / "keeper.lock")
    if lock is not None:
        try:
            launch_keeper(cluster, lock)
        finally:
            os.close(lock)


def _ensure_server(cluster: Cluster, deadline: float) -> None:
    """Wait until it answers. Start it if it is not there; make its data anew if that fails."""
    silence = time.monotonic() + _NO_ANSWER
    started = fresh = False
    while not _answers(cluster):
        now = time.monotonic()
        if now > deadline:
            raise failed(cluster, "the server did not answer in time")
        if not keeper.alive(cluster.data) or (now > silence and _orphaned(cluster)):
            if fresh:
                raise failed(cluster, "the server does not start")
            if cluster.tcp and not cluster.tcp.free:
                raise failed(cluster, f"another program has taken its port, {cluster.port}")
            if not started:
                start_log(cluster)
            # fsync is off: what was not shut down in good order is not to be trusted.
            fresh = started or not cluster.data.exists() or _unclean(cluster)
            if fresh:
                rebuild(cluster, timeout=deadline - now)
            launch(cluster)
            started, silence = True, deadline
        time.sleep(0.005)


def _answers(cluster: Cluster) -> bool:
    _, state = keeper.postmaster(cluster.data)
    return state == "ready" and keeper.listening(cluster.socket)


def _unclean(cluster: Cluster) -> bool:
    return (cluster.data / "postmaster.pid").exists()


def _orphaned(cluster: Cluster) -> bool:
    """Its postmaster was killed, and a busy backend has not noticed yet."""
    return not keeper.listening(cluster.socket)
