"""How far a process has come, in a small file that another one reads.

A worker of xdist has no other way to the terminal while it works, nor has the child that migrates.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

WAITING_FOR_TEMPLATE = "waiting for the template"
WAITING_FOR_CHECKS = "waiting for the checks of other workers"
WAITING = (WAITING_FOR_TEMPLATE, WAITING_FOR_CHECKS)
T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """What a process is doing since a moment (of ``time.time``), and at which step of how many."""

    doing: str
    number: int = 0
    of: int = 0
    what: str = ""
    since: float = field(default_factory=time.time)

    def __str__(self) -> str:
        count = f" {self.number}/{self.of}" if self.of else ""
        what = f"  {self.what}" if self.what else ""
        return f"{self.doing}{count}{what}"


def write_step(path: Path | None, step: Step) -> None:
    """Write ``step`` where others look for it. To tell is never worth an error.

    In place, as every step of a migration is told: to put a new file in the old one's stead makes
    a file system write it to the disk.
    """
    if path is not None:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                file.write(json.dumps(asdict(step)).encode())
                file.truncate()


def report_each(
    path: Path | None, doing: str, things: Sequence[T], names: Sequence[str]
) -> Iterator[T]:
    """Hand on ``things``, and tell for each that it has begun."""
    since = time.time()
    for number, (thing, name) in enumerate(zip(things, names, strict=True), 1):
        write_step(path, Step(doing, number, len(things), name, since))
        yield thing


def read_progress(directory: Path) -> dict[str, Step]:
    """What has been told in ``directory``, by the names of the files."""
    steps = {}
    for path in sorted(directory.glob("*.step")):
        with suppress(OSError, ValueError, TypeError):  # it ended or told while we looked
            steps[path.stem] = Step(**json.loads(path.read_text("utf-8")))
    return steps
