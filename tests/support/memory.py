"""Keep temporary files and databases of the tests in memory.

The short form creates and drops about 2,000 databases of 300 files each. On some file systems, that
takes a fifth of the whole time. The long form, and a machine without enough memory at /dev/shm,
uses the disk.

A pytest plugin. Nothing here is a test.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_pgtemplate import _embedded
from pytest_pgtemplate.errors import EmbeddedServerError

MEMORY = Path("/dev/shm")
NEEDED = 4 * 2**30  # bytes
PREFIX = "pgtemplate-tests-"  # and the process id


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before anything asks for the temporary directory. xdist workers inherit the environment."""
    is_worker = hasattr(config, "workerinput")
    if is_worker or config.getoption("--full") or not MEMORY.is_dir():
        return
    _remove_abandoned()
    if shutil.disk_usage(MEMORY).free >= NEEDED:
        config.pluginmanager.register(_Directory(), "directory-in-memory")


class _Directory:
    def __init__(self) -> None:
        self._path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY))
        self._path.chmod(0o711)  # servers that root starts run as another user
        os.environ["TMPDIR"] = str(self._path)
        os.environ["XDG_CACHE_HOME"] = str(self._path / "cache")
        tempfile.tempdir = None  # found again when it is needed

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        with suppress(EmbeddedServerError):  # there are no programs of a server
            _embedded.stop(None)
        shutil.rmtree(self._path, ignore_errors=True)


def _remove_abandoned() -> None:
    for directory in MEMORY.glob(f"{PREFIX}*"):
        pid = directory.name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", pid).exists():
            shutil.rmtree(directory, ignore_errors=True)
