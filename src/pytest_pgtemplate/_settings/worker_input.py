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

_VARIABLE = "PGTEMPLATE_TOLD"
_TAKE = "import os; os.environ.update(channel.receive())"
_BOOT = Path("/proc/sys/kernel/random/boot_id")  # two hosts may have the same name


class Told(NamedTuple):
    """What a process was told. One that was not is on its own, or the controller."""

    run: str
    worker: str = "main"
    prefix: str = ""
    urls: Mapping[str, Sequence[str]] = {}  # by the name of the database
    place: str = ""


def told(config: pytest.Config) -> Told:
    """The same whenever it is asked for.

    It is taken out of the environment: a run of pytest that a test starts is no worker.
    """
    if _TOLD not in config.stash:
        given = os.environ.pop(_VARIABLE, None)
        alone = {"run": os.urandom(4).hex()}
        config.stash[_TOLD] = Told(**(json.loads(given) if given else alone))
    return config.stash[_TOLD]


_TOLD = pytest.StashKey[Told]()


def place(cache: Path) -> str:
    """Who shares an embedded server: processes of one host that have the same cache."""
    boot = _BOOT.read_text("ascii").strip() if _BOOT.exists() else ""
    return f"{platform.node()} {boot} {cache}"


class Messenger:
    """A plugin of the controller, for a hook of xdist that knows no config."""

    def __init__(self, message: Told) -> None:
        self._message = message

    @pytest.hookimpl
    def pytest_xdist_newgateway(self, gateway: Any) -> None:
        """Python runs there, pytest not yet; replacements for crashed workers come here, too."""
        message = self._message._replace(worker=_plain(gateway.id))._asdict()
        channel = gateway.remote_exec(_TAKE)
        channel.send({_VARIABLE: json.dumps(message)})
        channel.waitclose()


def _plain(gateway: str) -> str:
    """A name of the user's own (--tx popen//id=name) becomes a number, too."""
    return gateway if re.fullmatch(r"gw\d+", gateway) else f"gw{zlib.crc32(gateway.encode())}"
