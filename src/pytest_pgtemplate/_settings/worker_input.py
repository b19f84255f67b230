"""Send resolved settings from the controller of an xdist run to its workers, on any host.

xdist's ``workerinput`` reaches a worker after it has imported the conftests. ``pg_env`` has to be
set before, so the settings travel in an environment variable that xdist's gateway sets.
"""

from __future__ import annotations

import json
import os
import platform
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_pgtemplate._settings.topics import Topic

_VARIABLE = "PGTEMPLATE_WORKER_INPUT"
_SET_VARIABLES = "import os; os.environ.update(channel.receive())"
_BOOT = Path("/proc/sys/kernel/random/boot_id")  # two hosts may have the same name


class WorkerInput(Topic):
    """What a worker receives. A controller, or a run without xdist, uses the defaults."""

    run: str
    worker: str = "main"
    prefix: str = ""
    urls: Mapping[str, Sequence[str]] = {}  # by the name of the database
    embedded_owner: str = ""


def read_worker_input(config: pytest.Config) -> WorkerInput:
    """Return the input of this process: always the same object for one ``config``."""
    if _WORKER_INPUT not in config.stash:
        # Removed from the environment: a pytest run that a test starts is not a worker.
        received = os.environ.pop(_VARIABLE, None)
        values = json.loads(received) if received else {"run": os.urandom(4).hex()}
        config.stash[_WORKER_INPUT] = WorkerInput(**values)
    return config.stash[_WORKER_INPUT]


_WORKER_INPUT = pytest.StashKey[WorkerInput]()


def embedded_server_owner(cache: Path) -> str:
    """Identify the embedded server: one per host and cache directory."""
    boot = _BOOT.read_text("ascii").strip() if _BOOT.exists() else ""
    return f"{platform.node()} {boot} {cache}"


class WorkerInputSender:
    """A plugin of the controller: xdist passes no ``config`` to ``pytest_xdist_newgateway``."""

    def __init__(self, message: WorkerInput) -> None:
        self._message = message

    @pytest.hookimpl
    def pytest_xdist_newgateway(self, gateway: Any) -> None:
        """Runs before pytest starts in the worker, also for replacements of crashed workers."""
        message = vars(self._message.replace(worker=_numbered_worker(gateway.id)))
        channel = gateway.remote_exec(_SET_VARIABLES)
        channel.send({_VARIABLE: json.dumps(message)})
        channel.waitclose()


def _numbered_worker(gateway: str) -> str:
    """Map an id that the user chose (--tx popen//id=name) to a number, too."""
    return gateway if re.fullmatch(r"gw\d+", gateway) else f"gw{zlib.crc32(gateway.encode())}"
