"""What the controller of an xdist run has resolved, and its workers go by, on whatever host.

A worker has to know before it reads its command line, for then it imports conftests. That is too
early for ``workerinput``, and not for a variable that is set in its environment.
"""

from __future__ import annotations

import json
import os
import platform
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_VARIABLE = "PGTEMPLATE_WORKER_INPUT"
_SET_VARIABLES = "import os; os.environ.update(channel.receive())"
_BOOT = Path("/proc/sys/kernel/random/boot_id")  # two hosts may have the same name


class WorkerInput(NamedTuple):
    """What a process was told. One that was not is on its own, or the controller."""

    run: str
    worker: str = "main"
    prefix: str = ""
    urls: Mapping[str, Sequence[str]] = {}  # by the name of the database
    embedded_owner: str = ""


def read_worker_input(config: pytest.Config) -> WorkerInput:
    """The same whenever it is asked for.

    It is taken out of the environment: a run of pytest that a test starts is no worker.
    """
    if _WORKER_INPUT not in config.stash:
        given = os.environ.pop(_VARIABLE, None)
        alone = {"run": os.urandom(4).hex()}
        config.stash[_WORKER_INPUT] = WorkerInput(**(json.loads(given) if given else alone))
    return config.stash[_WORKER_INPUT]


_WORKER_INPUT = pytest.StashKey[WorkerInput]()


def embedded_server_owner(cache: Path) -> str:
    """Who shares an embedded server: processes of one host that have the same cache."""
    boot = _BOOT.read_text("ascii").strip() if _BOOT.exists() else ""
    return f"{platform.node()} {boot} {cache}"


class WorkerInputSender:
    """A plugin of the controller, for a hook of xdist that knows no config."""

    def __init__(self, message: WorkerInput) -> None:
        self._message = message

    @pytest.hookimpl
    def pytest_xdist_newgateway(self, gateway: Any) -> None:
        """Python runs there, pytest not yet; replacements for crashed workers come here, too."""
        message = self._message._replace(worker=_numbered_worker(gateway.id))._asdict()
        channel = gateway.remote_exec(_SET_VARIABLES)
        channel.send({_VARIABLE: json.dumps(message)})
        channel.waitclose()


def _numbered_worker(gateway: str) -> str:
    """A name of the user's own (--tx popen//id=name) becomes a number, too."""
    return gateway if re.fullmatch(r"gw\d+", gateway) else f"gw{zlib.crc32(gateway.encode())}"
