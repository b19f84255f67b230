"""Results that the workers of one run share, each made by one of them.

Workers share nothing but the file system: a result is a file in the run's directory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_pgtemplate._server.file_locks import Timeout, file_lock
from pytest_pgtemplate.errors import ConfigurationError, MigrationError, PgTemplateError

POLL_INTERVAL = 0.05  # seconds between looks at what another worker is at


class SharedResults:
    """Results by name. What was raised in the place of one is a result, too."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def is_made(self, name: str) -> bool:
        return self._file(name).exists()

    def read(self, name: str) -> Any:
        """None: nobody has made it yet. Raises MigrationError when it could not be made."""
        try:
            data = json.loads(self._file(name).read_text("utf-8"))
        except FileNotFoundError:
            return None
        if "error" in data:
            message, hint = data["error"]
            raise MigrationError(message, hint=hint)
        return data["result"]

    def make(self, name: str, make: Callable[[], object], *, wait: bool) -> bool:
        """Make it, unless somebody has. False: another worker is at it, and we do not ``wait``."""
        file = self._file(name)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            lock = file_lock(file.with_suffix(".lock"), -1 if wait else 0)
            with lock.acquire(poll_interval=POLL_INTERVAL):
                if not file.exists():
                    self._write(file, make)
        except Timeout:
            return False
        except (OSError, NotImplementedError) as error:
            raise ConfigurationError(
                f"workers cannot meet at {self._directory}: {error}",
                hint="let XDG_CACHE_HOME name a directory that can be written to",
            ) from error
        return True

    def _write(self, file: Path, make: Callable[[], object]) -> None:
        data: dict[str, object]
        try:
            data = {"result": make()}
        except PgTemplateError as error:
            data = {"error": [error.message, error.hint]}
        whole = file.with_suffix(".new")
        whole.write_text(json.dumps(data), "utf-8")
        whole.replace(file)

    def _file(self, name: str) -> Path:
        return self._directory / f"check-{name}.json"
