"""Report each error once per run, by the worker that encounters it first.

xdist workers share only the file system, so each reported error is a file in the run's directory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from pytest_pgtemplate.errors import PgTemplateError, TemplateError


class ReportedErrors:
    """The errors that the workers of one run have reported."""

    def __init__(self, directory: Callable[[], Path]) -> None:
        self._directory = directory  # called on first use: most runs have no failure

    def claim(self, error: PgTemplateError) -> bool:
        """Return True if the caller has to report ``error``: no worker has claimed it yet."""
        return self._claim(hashlib.sha256(str(error).encode()).hexdigest(), str(error))

    def record_failed_build(self, template: str, error: PgTemplateError) -> None:
        """Record the error, so that the other workers of this run do not repeat the build."""
        self._claim(template, f"{error.hint}\0{error.message}")

    def raise_if_build_failed(self, template: str) -> None:
        """Raise TemplateError if a worker of this run has failed to build ``template``."""
        try:
            hint, _, message = (self._directory() / template).read_text("utf-8").partition("\0")
        except OSError:
            return
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
