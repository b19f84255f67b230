"""Join the embedded server. The first run starts it, and it stops after the last one.

    binaries -> cluster -> users.lock -> keeper -> server -> ServerHandle

``keeper`` documents the locks and stops the server, ``cluster`` starts it on the directory that
``data`` has created, and ``tcp`` chooses its port. Every wait has a deadline.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_pgtemplate._embedded import keeper, tcp
from pytest_pgtemplate._embedded.binaries import OWN_SERVER
from pytest_pgtemplate._embedded.cluster import (
    OWN_CACHE,
    Cluster,
    choose_tcp,
    locate,
    make_directories,
)
from pytest_pgtemplate._embedded.data import rebuild
from pytest_pgtemplate._embedded.host import refuse_other_host
from pytest_pgtemplate._embedded.processes import (
    launch,
    launch_keeper,
    rotate_log,
    server_failure,
)
from pytest_pgtemplate._server import clocks
from pytest_pgtemplate.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ORPHAN_TIMEOUT = 10.0  # seconds after which a server without a postmaster is replaced
_STOP_TIMEOUT = 60.0  # seconds that ``stop`` waits while another process starts the server

_known_ports: dict[Path, int] = {}  # cluster directory -> port that this process has published
_OWN_DIRECTORY = f"Set XDG_CACHE_HOME to a directory of this host's own, or {OWN_SERVER}"


class ServerHandle:
    """Keeps the server running until ``close``, or until the end of this process."""

    def __init__(self, cluster: Cluster, users: int) -> None:
        self.url = cluster.url
        self._users: int | None = users

    def close(self) -> None:
        """Leave the server, which stops after its last user. A second call does nothing."""
        users, self._users = self._users, None
        if users is not None:
            os.close(users)


@dataclass(frozen=True)
class Status:
    """The state of the server, read without joining it."""

    running: bool
    in_use: bool
    pid: int | None
    url: str = field(repr=False)  # may contain a password
    password: Path | None  # the file with the password; None: no TCP
    version: str
    source: str
    data: Path
    log: Path


# The functions below select the server by: ``bindir`` (None: the first binaries found), ``version``
# (the major version; None: any) and ``listen`` (with a port on 127.0.0.1).


def url_of(
    bindir: Path | None, version: int | None = None, listen: bool = False, *, timeout: float = 60
) -> str:
    """Return the URL that the server has, or will have when it runs.

    Creates nothing except a port and a password. Raises ``EmbeddedServerError``.
    """
    cluster = locate(bindir, version, listen)
    with _explain_os_errors(cluster):
        return _with_port(cluster, clocks.monotonic() + timeout).url


def acquire(
    bindir: Path | None, version: int | None = None, listen: bool = False, *, timeout: float
) -> ServerHandle:
    """Join the server within ``timeout`` seconds; start it if necessary.

    Raises ``EmbeddedServerError``.
    """
    cluster = locate(bindir, version, listen)
    deadline = clocks.monotonic() + timeout
    with _explain_os_errors(cluster):
        make_directories(cluster)
        cluster = _with_port(cluster, deadline)
        # First of all: as long as this process holds it, no keeper stops the server.
        users = _wait_for_lock(cluster.dir / "users.lock", deadline, shared=True)
        try:
            os.utime(users)
            with _start_lock(cluster, deadline):
                refuse_other_host(cluster.dir, listens=cluster.listens, hint=_OWN_DIRECTORY)
                _ensure_keeper(cluster)
                _ensure_server(cluster, deadline)
        except BaseException:
            os.close(users)
            raise
    return ServerHandle(cluster, users)


def status(bindir: Path | None, version: int | None = None, listen: bool = False) -> Status | None:
    """Return the state of the server; None: it was never started."""
    cluster = locate(bindir, version, listen)
    if not cluster.data.exists():
        return None
    running = _is_ready(cluster)
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
    """Stop the server now, even if it is in use. False: it did not run."""
    cluster = locate(bindir, version, listen)
    if not cluster.data.exists():
        return False
    with _start_lock(cluster, clocks.monotonic() + _STOP_TIMEOUT):
        refuse_other_host(cluster.dir, listens=cluster.listens, hint=_OWN_DIRECTORY)
        return keeper.stop_server(cluster.data, cluster.socket)


@contextmanager
def _explain_os_errors(cluster: Cluster) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedServerError(
            f"The embedded server cannot use {cluster.dir}: {error}", hint=OWN_CACHE
        ) from error


def _with_port(cluster: Cluster, deadline: float) -> Cluster:
    """Choose a port if a listening server has none, or if another program uses its port.

    The port stays the same while any process uses the server.
    """
    if not cluster.listens:
        return cluster
    make_directories(cluster)
    with _start_lock(cluster, deadline):
        endpoint = tcp.read(cluster.dir)
        usable = endpoint and (
            endpoint.is_free or keeper.is_alive(cluster.data) or _in_use(cluster)
        )
        cluster = cluster._replace(tcp=endpoint) if usable else choose_tcp(cluster)
    known = _known_ports.setdefault(cluster.dir, cluster.port)
    if known != cluster.port:
        raise EmbeddedServerError(
            f"Another program uses port {known}, which was reserved for the embedded server.",
            hint="Run again: the server has chosen another port.",
        )
    return cluster


def _in_use(cluster: Cluster) -> bool:
    users = keeper.try_lock(cluster.dir / "users.lock")
    if users is not None:
        os.close(users)
    return users is None


def _wait_for_lock(path: Path, deadline: float, *, shared: bool = False) -> int:
    while (lock := keeper.try_lock(path, shared=shared)) is None:
        if clocks.monotonic() > deadline:
            raise EmbeddedServerError(
                f"The embedded server was not available in time: another process holds {path}.",
                hint=f"Raise pg_timeout, or {OWN_SERVER}",
            )
        time.sleep(0.005)
    return lock


@contextmanager
def _start_lock(cluster: Cluster, deadline: float) -> Iterator[None]:
    """Exclude other processes that start or stop this server."""
    lock = _wait_for_lock(cluster.dir / "start.lock", deadline)
    try:
        yield
    finally:
        os.close(lock)


def _ensure_keeper(cluster: Cluster) -> None:
    """Start a keeper if there is none. Call it before the server starts: it needs a keeper."""
    lock = keeper.try_lock(cluster.dir / "keeper.lock")
    if lock is not None:
        try:
            launch_keeper(cluster, lock)
        finally:
            os.close(lock)


def _ensure_server(cluster: Cluster, deadline: float) -> None:
    """Wait until the server is ready; start it if it does not run, and rebuild its data if needed.

    Raises EmbeddedServerError at the deadline, or if the server does not start on new data.
    """
    orphan_deadline = clocks.monotonic() + _ORPHAN_TIMEOUT
    started = fresh = False
    while not _is_ready(cluster):
        now = clocks.monotonic()
        if now > deadline:
            raise server_failure(cluster, "the server did not answer in time")
        # After a kill -9 of the postmaster, a busy backend keeps server.lock until it notices.
        orphaned = now > orphan_deadline and not keeper.is_listening(cluster.socket)
        if orphaned or not keeper.is_alive(cluster.data):
            if fresh:
                raise server_failure(cluster, "the server does not start")
            if cluster.tcp and not cluster.tcp.is_free:
                raise server_failure(cluster, f"another program has taken its port, {cluster.port}")
            if not started:
                rotate_log(cluster)
            # With fsync off, the data may be corrupt after an unclean shutdown.
            unclean = (cluster.data / "postmaster.pid").exists()
            fresh = started or not cluster.data.exists() or unclean
            if fresh:
                rebuild(cluster, timeout=deadline - now)
            launch(cluster)
            started, orphan_deadline = True, deadline
        time.sleep(0.005)


def _is_ready(cluster: Cluster) -> bool:
    _, state = keeper.postmaster(cluster.data)
    return state == "ready" and keeper.is_listening(cluster.socket)
