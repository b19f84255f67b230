"""Start psql on a database of a server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from pytest_pgtemplate import _child, _urls
from pytest_pgtemplate._server import Server
from pytest_pgtemplate.errors import ServerError


def run(server: Server, database: str, bindir: Path | None) -> int:
    """Run psql and return its exit code. ``bindir`` is searched first, then PATH.

    Raises ServerError if neither has a psql.
    """
    psql = shutil.which("psql", path=bindir) or shutil.which("psql")
    if psql is None:
        raise ServerError("the server's programs and PATH have no psql", hint="install psql")
    dsn = _urls.dsn_without_passwords(server.url.set(database=database))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C cancels a query in psql
    with _child.password_environment(server.url) as passwords:
        env = {**os.environ, **passwords}
        return subprocess.run([psql, dsn], env=env, check=False).returncode  # noqa: S603
