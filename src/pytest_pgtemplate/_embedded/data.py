"""The private server's data: how initdb makes it, and when it is thrown away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_pgtemplate._embedded import keeper, tcp
from pytest_pgtemplate._embedded.cluster import (
    Cluster,
    as_server_user,
    failed,
    give_away,
    programs,
    spawn,
)

_UNUSED = 30 * 24 * 3600.0  # seconds after which a cluster's data is thrown away


def rebuild(cluster: Cluster, *, timeout: float) -> None:
    """Make the data anew, whole or not at all."""
    # A rename takes the old data from whoever may still be writing there; removing it does not.
    if cluster.data.exists():
        cluster.data.rename(_scratch(cluster))
    for leftover in cluster.dir.glob("scratch.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    # A killed server leaves its lock file, which counts as long as any process has its number.
    for leftover in cluster.sockets.iterdir():
        leftover.unlink()
    _sweep(cluster.dir.parent)
    data = _scratch(cluster)
    give_away(data, cluster)
    options = [*_initdb_options(cluster.binaries.major), "--pgdata", data]
    if cluster.tcp:
        options += ["--pwfile", tcp.password_file(cluster.dir)]
    initdb = spawn(cluster, [programs(cluster) / "initdb", *options], **as_server_user(cluster))
    with initdb, suppress(subprocess.TimeoutExpired):
        try:
            initdb.wait(timeout)
        finally:
            initdb.kill()
    if initdb.returncode != 0:
        raise failed(cluster, f"initdb ended with status {initdb.returncode}")
    data.rename(cluster.data)


def _scratch(cluster: Cluster) -> Path:
    return Path(tempfile.mkdtemp(prefix="scratch.", dir=cluster.dir))


def _sweep(root: Path) -> None:
    """Throw away what has long been out of use, mostly because its binaries were replaced."""
    for users in root.glob("pg*/users.lock"):
        with suppress(OSError):
            unused = time.time() - users.stat().st_mtime > _UNUSED
            lock = keeper.try_lock(users) if unused else None
            if lock is not None:
                if not keeper.alive(users.parent / "data"):
                    _clear(users.parent)
                os.close(lock)


def _clear(directory: Path) -> None:
    # The lock files stay: somebody may be about to take one.
    for tree in filter(Path.is_dir, directory.iterdir()):
        shutil.rmtree(tree, ignore_errors=True)


def _initdb_options(major: int) -> list[Any]:
    """UTF-8 that knows every letter, in an order that is the same everywhere: by code point."""
    ctype = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
    options: list[Any] = ["--username=postgres", "--no-sync", "--encoding=UTF8"]
    options += ["--auth-local=trust", "--auth-host=scram-sha-256"]  # its socket is in a 0700 place
    options += ["--locale=C", f"--lc-ctype={ctype}"]
    if major >= 17:
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return options
