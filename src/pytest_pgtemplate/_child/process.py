"""Run a child process that cannot outstay its time, its parent or its welcome.

It gets its input through a pipe that stays open: what the child must know is never in its argv, and
an end of file tells it that the parent has died.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

CHILD = Path(__file__).with_name("main.py")


class ChildResult(NamedTuple):
    """How a child ended: ``code`` is None when it was killed at its time limit."""

    code: int | None
    output: str


def run(
    argv: Sequence[str],
    *,
    line: str = "",
    env: Mapping[str, str],
    cwd: Path,
    timeout: float,
) -> ChildResult:
    """Run ``argv`` with ``line`` on its stdin; kill its whole process group after ``timeout`` s.

    stdout and stderr come back together, in the order they were written.
    Raises OSError when the program cannot be started.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - the user's own command
            argv,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
            cwd=cwd,
            start_new_session=True,
        )
        try:
            code = _send_and_wait(process, line, timeout)
        finally:
            _end(process)
        output.seek(0)
        return ChildResult(code, output.read().decode(errors="replace"))


def run_job(
    module: str, job: Mapping[str, object], *, env: Mapping[str, str], cwd: Path, timeout: float
) -> ChildResult:
    """Run ``run(job)`` of a module in this room in a Python of its own: see ``main``."""
    message = {**job, "module": f"pytest_pgtemplate._child.{module}", "sys_path": sys.path}
    argv = [sys.executable, "-P", "-u", str(CHILD)]  # unbuffered: a killed child has its say, too
    return run(argv, line=json.dumps(message), env=env, cwd=cwd, timeout=timeout)


def _send_and_wait(process: subprocess.Popen[bytes], line: str, timeout: float) -> int | None:
    assert process.stdin is not None
    try:
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it ended, or does not read: its exit code and output tell more
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # the whole group has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
