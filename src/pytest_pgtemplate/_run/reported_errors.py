"""Report each error once per run, by the worker that encounters it first.

xdist workers share only the file system, so each reported error is a file in the run's directory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pytest_pgtemplate.errors import PgTemplateError, TemplateError


def digest(error: PgTemplateError) -> str:
    """Return the key of an error, which is equal in all processes of a run."""
    return hashlib.sha256(str(error).encode()).hexdigest()


class ReportedErrors:
    """The errors that the workers of one run have reported."""

    def __init__(self, directory: Callable[[], Path]) -> None:
        self._directory = directory  # called on first use: most runs have no failure
        self._claimed: set[str] = set()

    def claim(self, error: PgTemplateError) -> bool:
        """Return True if this process has to report ``error``: no other worker was first."""
        name = digest(error)
        if name not in self._claimed and not self._claim(name, str(error)):
            return False
        self._claimed.add(name)
        return True

    def withdraw(self, name: str) -> None:
        """Let another test report the error with this digest: the report of this one hides it."""
        if name in self._claimed:
            self._claimed.remove(name)
            with suppress(OSError):
                (self._directory() / name).unlink()

    def record_failed_build(self, attempt: str, error: PgTemplateError) -> None:
        """Record the error, so that this run does not repeat the build.

        ``attempt``: identifies the template and the environment of the build.
        """
        self._claim(attempt, f"{error.hint}\0{error.message}")

    def raise_if_build_failed(self, attempt: str) -> None:
        """Raise TemplateError if this ``attempt`` has already failed in a worker of this run."""
        try:
            hint, _, message = (self._directory() / attempt).read_text("utf-8").partition("\0")
        except OSError:
            return
        if not message:
            return  # another process is writing it, or could not write it
        raise TemplateError(message, hint=hint)

    def _claim(self, name: str, text: str) -> bool:
        try:
            directory = self._directory()
            directory.mkdir(parents=True, exist_ok=True)
            with (directory / name).open("x", encoding="utf-8") as file:  # "x": atomic
                file.write(text)
        except FileExistsError:
            return False
        except OSError:
            pass  # it cannot be recorded: report it, perhaps more than once
        return True
