"""The processes of the embedded server: how they are started, and their log."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_pgtemplate._embedded import host, keeper, stand_ins, tcp
from pytest_pgtemplate._embedded.binaries import Binaries, executable_bindir
from pytest_pgtemplate._embedded.cluster import OWN_CACHE, Cluster
from pytest_pgtemplate.errors import EmbeddedServerError

_SETTINGS = {
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    # The data is a cache. After an unclean shutdown, it is rebuilt and not recovered.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "1d",
    # Enough for many workers with pools, and for thousands of tables in one transaction.
    "max_connections": "500",
    "max_locks_per_transaction": "128",
    "max_prepared_transactions": "64",
    # Background work would make tests depend on timing.
    "autovacuum": "off",
    "jit": "off",
}


def launch(cluster: Cluster) -> None:
    """Start the server, without waiting until it is ready."""
    settings = {
        **_SETTINGS,
        "unix_socket_directories": cluster.sockets,
        "listen_addresses": tcp.HOST if cluster.tcp else "",
        "port": cluster.port,
    }
    if cluster.binaries.major >= stand_ins.SINCE and ":" not in str(cluster.dir):
        settings |= _extension_settings(cluster)
    options = [f"--{name}={value}" for name, value in settings.items()]
    command = [programs(cluster) / "postgres", "-D", cluster.data, *options]
    lock = keeper.try_lock(cluster.data / "server.lock")
    assert lock is not None, "start.lock allows one launcher at a time, and no server is alive"
    host.record_host(cluster.dir, listens=cluster.listens)
    try:
        # The server and its backends inherit the descriptor, so the lock is free only when the
        # last of these processes has ended, even after a kill -9 of the postmaster.
        spawn_detached(cluster, command, pass_fds=[lock], **server_user_options(cluster))
    finally:
        os.close(lock)


def _extension_settings(cluster: Cluster) -> dict[str, object]:
    """Where the server finds the extensions that its binaries lack: real ones or stand-ins."""
    files: list[Path] = []
    libraries: list[str] = ["$libdir"]
    for extension in cluster.extensions:
        library = extension.library(_accessible_bindir(extension.binaries, cluster))
        files += extension.files
        libraries.append(str(library.parent))
    return {
        "extension_control_path": stand_ins.write_extensions(cluster.dir / "stand-ins", files),
        "dynamic_library_path": ":".join(dict.fromkeys(libraries)),
    }


def launch_keeper(cluster: Cluster, lock: int) -> None:
    """Start the keeper. It inherits ``keeper.lock``, so the lock is never free in between."""
    command = [sys.executable, "-I", "-S", keeper.__file__, lock, cluster.dir, cluster.socket]
    spawn_detached(cluster, command, pass_fds=[lock], cwd="/")


def programs(cluster: Cluster) -> Path:
    return _accessible_bindir(cluster.binaries, cluster)


def _accessible_bindir(binaries: Binaries, cluster: Cluster) -> Path:
    if cluster.server_user is None:
        return binaries.bindir
    # A directory for each package, which appears when the copy is complete.
    others = binaries != cluster.binaries
    copies = f"programs-{binaries.bindir.parents[1].name}" if others else "programs"
    return executable_bindir(binaries, cluster.server_user, cluster.dir / copies)


def server_user_options(cluster: Cluster) -> dict[str, Any]:
    """Return the options of ``Popen`` that run a program as the server user."""
    # Few variables: PG*, LC_* and TZ would change the server.
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    options: dict[str, Any] = {"cwd": cluster.dir, "env": {**kept, "LC_ALL": "C"}}
    if cluster.server_user:
        user, group = cluster.server_user.pw_uid, cluster.server_user.pw_gid
        options |= {"user": user, "group": group, "extra_groups": []}
    return options


def spawn_detached(cluster: Cluster, command: list[Any], **options: Any) -> None:
    """Start a program that outlives this process, and is not its child.

    ``os.wait`` of an application or tool would meet a child that it does not know. A shell starts
    the program in the background and ends: that is faster than a second ``fork`` in Python, which
    is not safe in a process with threads.
    """
    shell = ["/bin/sh", "-c", '"$@" &', "sh"]
    with spawn(cluster, [*shell, *command], **options):
        pass  # waits for the shell


def spawn(cluster: Cluster, command: list[Any], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program in its own session, which no Ctrl-C reaches, with its output in the log."""
    # It inherits no pipe: the reader of pytest's output would otherwise wait for the server's end.
    with cluster.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )


def rotate_log(cluster: Cluster) -> None:
    """Begin a new log, and keep the previous one: it may show why the last server ended."""
    with suppress(FileNotFoundError):
        cluster.log.replace(cluster.log.with_name("server.log.1"))
    cluster.log.touch()


def server_failure(cluster: Cluster, reason: str) -> EmbeddedServerError:
    """Return an error with ``reason`` and the end of the server's log."""
    last_lines = cluster.log.read_text(errors="replace").splitlines()[-20:]
    message = f"PostgreSQL {cluster.binaries.version} in {cluster.binaries.bindir}: {reason}."
    return EmbeddedServerError(
        "\n".join([message, f"The end of {cluster.log}:", *last_lines]), hint=OWN_CACHE
    )
