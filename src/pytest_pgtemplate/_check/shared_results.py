"""Results that the workers of one run share; each is computed by one worker.

xdist workers share only the file system, so a result is a file in the run's directory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_pgtemplate._server.file_locks import Timeout, acquire, file_lock
from pytest_pgtemplate.errors import ConfigurationError, MigrationError, PgTemplateError

POLL_INTERVAL = 0.05  # seconds between attempts to take another worker's lock


class SharedResults:
    """Results by name. An error counts as a result."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def is_computed(self, name: str) -> bool:
        return self._file(name).exists()

    def read(self, name: str) -> Any:
        """Return a result, or None if there is none yet. Raises MigrationError if it failed."""
        try:
            data = json.loads(self._file(name).read_text("utf-8"))
        except FileNotFoundError:
            return None
        if "error" in data:
            message, hint = data["error"]
            raise MigrationError(message, hint=hint)
        return data["result"]

    def compute(self, name: str, function: Callable[[], object], *, wait: bool) -> bool:
        """Store what ``function`` returns, if there is no result yet.

        If not ``wait``, returns False while another worker computes it.
        """
        file = self._file(name)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            lock = file_lock(file.with_suffix(".lock"))
            timeout = float("inf") if wait else 0
            with acquire(lock, timeout=timeout, poll_interval=POLL_INTERVAL):
                if not file.exists():
                    self._write(file, function)
        except Timeout:
            return False
        except (OSError, NotImplementedError) as error:
            raise ConfigurationError(
                f"the workers cannot share the directory {self._directory}: {error}",
                hint="set XDG_CACHE_HOME to a writable directory",
            ) from error
        return True

    def _write(self, file: Path, function: Callable[[], object]) -> None:
        data: dict[str, object]
        try:
            data = {"result": function()}
        except PgTemplateError as error:
            data = {"error": [error.message, error.hint]}
        scratch = file.with_suffix(".new")
        scratch.write_text(json.dumps(data), "utf-8")
        scratch.replace(file)  # atomic, for readers without the lock

    def _file(self, name: str) -> Path:
        return self._directory / f"check-{name}.json"
