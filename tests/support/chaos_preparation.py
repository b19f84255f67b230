"""Chaos that aims at the thread which prepares the databases while pytest collects.

In an aimed run, the thread stops at one moment: before or after one of its calls to the server. A
file says so, and then one of these processes gets SIGKILL, SIGTERM or SIGINT:

    pytest       the process of a run without workers
    worker       the pytest-xdist worker in which the thread has stopped
    controller   the controller of that worker
    backend      a session of the plugin on the server

The thread continues shortly before the signal, or after it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from support.programs import load_program
from support.projects import query

# At the end of the project's conftest.py. MOMENT counts in each process.
CONFTEST = load_program("chaos/preparation_conftest.py")
TARGETS = ("pytest", "worker", "controller", "backend")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
WARM, COLD = 18, 40  # moments of the thread if there is a template and a spare, and if not
LATE = 0.05  # seconds: at most so long after the thread continues
STOPS = 30.0  # seconds in which the thread has to reach its moment
SESSIONS = """
SELECT pid FROM pg_stat_activity
 WHERE application_name LIKE 'pytest-pgtemplate%' AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True)
class Aim:
    """Which process gets which signal, and when."""

    directory: Path
    target: str
    signal: signal.Signals
    moment: int
    cold: bool  # the run has to build the template
    late: float | None  # seconds after the thread continues; None: before it does

    @classmethod
    def draw(cls, directory: Path, dice: random.Random, number: int) -> Aim:
        """Take targets and signals in turn, the moment at random."""
        cold = dice.random() < 0.5
        return cls(
            directory,
            TARGETS[number % len(TARGETS)],
            SIGNALS[number // len(TARGETS) % len(SIGNALS)],
            dice.randint(1, COLD if cold else WARM),
            cold,
            dice.uniform(0, LATE) if dice.random() < 0.5 else None,
        )

    def __str__(self) -> str:
        moment = f"moment {self.moment} of a {'cold' if self.cold else 'warm'} run"
        late = "" if self.late is None else f" and {self.late * 1000:.0f} ms"
        return f"{self.signal.name} to {self.target} at {moment}{late}"

    @property
    def workers(self) -> int:
        return 0 if self.target == "pytest" else 2

    @property
    def environment(self) -> dict[str, str]:
        return {"CHAOS_MOMENT": str(self.moment), "CHAOS_AIM": str(self.directory)}

    def send(self, process: subprocess.Popen[bytes], server: URL) -> bool:
        """Wait for the moment, and send the signal. False if the run does not have this moment."""
        self.directory.mkdir()
        if not wait_until(lambda: self._stopped() or process.poll() is not None, STOPS):
            return False
        stopped = self._stopped()
        if not stopped:
            return False
        target = self._pid(process, stopped[0], server)
        if self.late is not None:
            (self.directory / "continue").touch()
            time.sleep(self.late)
        try:
            if target is None:
                return False
            os.kill(target, self.signal)
            return True
        except ProcessLookupError:  # a session may have ended meanwhile
            return False
        finally:
            (self.directory / "continue").touch()

    def _stopped(self) -> list[int]:
        return [int(file.stem) for file in self.directory.glob("*.stopped")]

    def _pid(self, process: subprocess.Popen[bytes], stopped: int, server: URL) -> int | None:
        if self.target == "backend":
            return next((row["pid"] for row in query(server, SESSIONS)), None)
        return stopped if self.target == "worker" else process.pid


def wait_until(done: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
