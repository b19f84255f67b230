"""The data directory of the embedded server: created by initdb, removed after 30 days unused."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_pgtemplate._embedded import keeper, tcp
from pytest_pgtemplate._embedded.cluster import Cluster, chown_to_server_user
from pytest_pgtemplate._embedded.processes import (
    programs,
    server_failure,
    server_user_options,
    spawn,
)
from pytest_pgtemplate._server import clocks

_MAX_UNUSED = 30 * 24 * 3600.0  # seconds after which the data of a cluster is removed


def rebuild(cluster: Cluster, *, timeout: float) -> None:
    """Create the data directory again, under its final name only when it is complete."""
    # Rename before removal: a backend that is still alive must not write into the new directory.
    if cluster.data.exists():
        cluster.data.rename(_make_scratch(cluster))
    for leftover in cluster.dir.glob("scratch.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    # A killed server leaves a socket lock file. PostgreSQL respects it while any process has the
    # pid in that file.
    for leftover in cluster.sockets.iterdir():
        leftover.unlink()
    data = _make_scratch(cluster)
    _sweep(cluster.dir.parent, data.stat().st_mtime)
    chown_to_server_user(data, cluster)
    options = [*_initdb_options(cluster.binaries.major), "--pgdata", data]
    if cluster.tcp:
        options += ["--pwfile", tcp.password_file(cluster.dir)]
    command = [programs(cluster) / "initdb", *options]
    initdb = spawn(cluster, command, **server_user_options(cluster))
    with initdb:
        try:
            clocks.wait_for_process(initdb, timeout)
        finally:
            initdb.kill()
    if initdb.returncode != 0:
        raise server_failure(cluster, f"initdb ended with status {initdb.returncode}")
    data.rename(cluster.data)


def _make_scratch(cluster: Cluster) -> Path:
    return Path(tempfile.mkdtemp(prefix="scratch.", dir=cluster.dir))


def _sweep(root: Path, now: float) -> None:
    """Remove clusters that have been unused for 30 days, for example after an upgrade.

    ``now`` is the time of the file system: a test may have changed the clock of its process.
    """
    for users in root.glob("pg*/users.lock"):
        with suppress(OSError):
            is_old = now - users.stat().st_mtime > _MAX_UNUSED
            # The exclusive lock keeps a run from starting the server during the removal.
            lock = keeper.try_lock(users) if is_old else None
            if lock is not None:
                if not keeper.is_alive(users.parent / "data"):
                    _clear(users.parent)
                os.close(lock)


def _clear(directory: Path) -> None:
    # The lock files stay: if another process has opened one, a new file would be another lock.
    for tree in filter(Path.is_dir, directory.iterdir()):
        shutil.rmtree(tree, ignore_errors=True)


def _initdb_options(major: int) -> list[Any]:
    """UTF-8 with all of Unicode's letters, sorted by code point on every platform."""
    ctype = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
    options: list[Any] = ["--username=postgres", "--no-sync", "--encoding=UTF8"]
    # Trust on the socket only, which is in a directory with mode 0700.
    options += ["--auth-local=trust", "--auth-host=scram-sha-256"]
    options += ["--locale=C", f"--lc-ctype={ctype}"]
    if major >= 17:
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return options
