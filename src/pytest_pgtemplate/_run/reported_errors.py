"""Each error is reported once per run, in full, by the worker that meets it first.

Workers share nothing but the file system: what was reported is a file in a directory of the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from pytest_pgtemplate.errors import PgTemplateError, TemplateError


class ReportedErrors:
    """The errors that the workers of one run have met so far."""

    def __init__(self, directory: Callable[[], Path]) -> None:
        self._where = directory  # asked for when it is needed: most runs have no failure

    @property
    def _directory(self) -> Path:
        return self._where()

    def claim(self, error: PgTemplateError) -> bool:
        """Whether nobody in this run has reported ``error`` yet. Asking claims it."""
        return self._claim(hashlib.sha256(str(error).encode()).hexdigest(), str(error))

    def record_failed_build(self, template: str, error: PgTemplateError) -> None:
        """Spare the other workers of this run the same failing build."""
        self._claim(template, f"{error.hint}\0{error.message}")

    def raise_if_build_failed(self, template: str) -> None:
        try:
            hint, _, message = (self._directory / template).read_text("utf-8").partition("\0")
        except OSError:
            return
        raise TemplateError(message, hint=hint)

    def _claim(self, name: str, text: str) -> bool:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with (self._directory / name).open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            return False
        except OSError:
            pass  # no place to remember: better told twice than never
        return True
