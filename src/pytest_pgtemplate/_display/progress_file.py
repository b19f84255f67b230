"""Report the progress of a process in a small file, which another process reads.

While an xdist worker or the migrating child process works, it has no other way to the terminal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from pytest_pgtemplate._internals import clocks

WAITING_FOR_TEMPLATE = "waiting for the template"
WAITING_FOR_CHECKS = "waiting for the checks of other workers"
WAITING = (WAITING_FOR_TEMPLATE, WAITING_FOR_CHECKS)
T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """What a process is doing: ``migrating 3/10  add a table``. ``since``: by ``clocks``."""

    doing: str
    number: int = 0
    total: int = 0
    subject: str = ""
    since: float = field(default_factory=clocks.monotonic)

    def __str__(self) -> str:
        count = f" {self.number}/{self.total}" if self.total else ""
        subject = f"  {self.subject}" if self.subject else ""
        return f"{self.doing}{count}{subject}"


def write_step(path: Path | None, step: Step) -> None:
    """Write ``step`` to ``path``. Errors are ignored: progress must not fail a build."""
    # In place, although a reader can see half a line: a rename would make some file systems
    # flush the file to the disk, for each of hundreds of revisions.
    if path is not None:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                file.write(json.dumps(asdict(step)).encode())
                file.truncate()


def report_progress(
    path: Path | None, doing: str, items: Sequence[T], names: Sequence[str]
) -> Iterator[T]:
    """Yield ``items``, and report the beginning of each one in the file ``path``."""
    since = clocks.monotonic()
    for number, (item, name) in enumerate(zip(items, names, strict=True), 1):
        write_step(path, Step(doing, number, len(items), name, since))
        yield item


def read_progress(directory: Path) -> dict[str, Step]:
    """Return the last step of each process in ``directory``, by the stem of its file.

    Errors are ignored: progress must not fail a run.
    """
    steps: dict[str, Step] = {}
    with suppress(OSError):
        for path in sorted(directory.glob("*.step")):
            with suppress(OSError, ValueError, TypeError):  # removed or half written
                steps[path.stem] = Step(**json.loads(path.read_text("utf-8")))
    return steps
