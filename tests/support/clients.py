"""PostgreSQL's client programs, wrapped: their arguments are recorded, and they can be paused.

A pytest plugin, for the fixture at the end. Nothing here is a test.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pytest_pgtemplate import _embedded
from pytest_pgtemplate._server import Server

WRAPPER = """#!/bin/sh
[ "$1" = --version ] && exec {program} "$@"
echo "$0 $@ PGPASSWORD=$PGPASSWORD" >> {log}
while [ -e {hold} ]; do sleep 0.02; done
exec {program} "$@"
"""


class Clients:
    """A directory for ``--bindir``. Its programs wait as long as there is the file ``handle``."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.bindir = directory / "programs"
        self.handle = directory / "hold"
        self._log = directory / "clients.log"
        self.bindir.mkdir()
        for name in ("pg_dump", "pg_restore", "psql"):
            program = _embedded.find_program(name, server.facts.major, None)
            values = {"program": program, "log": self._log, "hold": self.handle}
            wrapper = self.bindir / name
            quoted = {key: shlex.quote(str(value)) for key, value in values.items()}
            wrapper.write_text(WRAPPER.format(**quoted))
            wrapper.chmod(0o755)

    def logged_arguments(self) -> list[str]:
        """What each of them was started with, and its password."""
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture
def clients(tmp_path: Path, server: Server) -> Clients:
    return Clients(tmp_path, server)
