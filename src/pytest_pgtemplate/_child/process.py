"""Run a child process with a time limit. It ends with its parent.

Its input comes through a pipe that stays open. So secrets are not in its argv, and the child reads
the end of the file when its parent dies.
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

from pytest_pgtemplate._child.main import FINISHED

CHILD = Path(__file__).with_name("main.py")


class ChildResult(NamedTuple):
    """Exit code and output of a child. ``code`` is None if it was killed at its time limit."""

    code: int | None
    output: str


def run(
    argv: Sequence[str], *, line: str = "", env: Mapping[str, str], cwd: Path, timeout: float
) -> ChildResult:
    """Run ``argv`` with ``line`` on its stdin; kill its process group after ``timeout`` seconds.

    The output contains stdout and stderr in the order of writing. Raises OSError if the program
    cannot be started.
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
    """Call ``run(job)`` of a module in this package, in a new Python process: see ``main``."""
    message = {**job, "module": f"pytest_pgtemplate._child.{module}", "sys_path": sys.path}
    argv = [sys.executable, "-P", "-u", str(CHILD)]  # -u: keep the output of a killed child
    result = run(argv, line=json.dumps(message), env=env, cwd=cwd, timeout=timeout)
    if result.code == FINISHED:
        return result._replace(code=0)
    if result.code == 0:
        return ChildResult(1, f"{result.output}\nthe process ended before it was done")
    return result


def _send_and_wait(process: subprocess.Popen[bytes], line: str, timeout: float) -> int | None:
    from pytest_pgtemplate._server import clocks  # slow to import, and the child needs no clock

    assert process.stdin is not None
    try:
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # the child has ended or does not read stdin; its exit code and output show the reason
    return clocks.wait_for_process(process, timeout)


def _end(process: subprocess.Popen[bytes]) -> None:
    # The group, because a migration may have started processes of its own.
    with suppress(ProcessLookupError, PermissionError):  # no process of the group is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
