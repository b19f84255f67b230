"""What this process tells of what takes long; ``display`` shows it.

Imported in every run of pytest, so it is light.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_pgtemplate._run.display import Display
    from pytest_pgtemplate._run.timeline import Timeline

_log = logging.getLogger("pytest_pgtemplate")


class Progress:
    """What this process tells, in a file; where it has the terminal, what other workers tell, too.

    A plugin of pytest's, to be there when xdist has started a worker.
    """

    def __init__(self, directory: Callable[[], Path], config: pytest.Config, worker: str) -> None:
        self._directory = directory  # asked for when it is needed
        self._config = config
        self._worker = worker
        self._display: Display | None = None
        self.timeline: Timeline | None = None  # where the run is recorded
        self._began: tuple[str, float] | None = None  # the part of it that is told of

    @property
    def file(self) -> Path:
        return self._directory() / f"{self._worker}.step"

    def tell(self, doing: str) -> None:
        """Begin a part of what is done."""
        from pytest_pgtemplate import _progress

        self._end_part()
        self._began = doing, time.time()
        _progress.tell(self.file, _progress.Step(doing))

    def _end_part(self) -> None:
        if self._began is not None and self.timeline is not None:
            doing, began = self._began
            self.timeline.add("build", doing, time.time() - began)
        self._began = None

    @contextmanager
    def during(self, kind: str, doing: str) -> Iterator[None]:
        """Around what may take long; ``kind`` is what a recording of the run calls it."""
        from pytest_pgtemplate import _progress

        _progress.tell(self.file, _progress.Step(doing))
        began = time.time()
        self._show()
        try:
            yield
        finally:
            self._end_part()
            seconds = time.time() - began
            _log.info("%s: %.3f s", doing, seconds)
            if self.timeline is not None:
                self.timeline.add(kind, doing, seconds)
            with suppress(OSError):
                self.file.unlink(missing_ok=True)
            if self._display is not None:
                self._display.stop()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self) -> None:
        """xdist: a worker is there, and may have to wait or to build."""
        self._show()

    def _show(self) -> None:
        """Where this process has the terminal."""
        if hasattr(self._config, "workerinput"):
            return
        if not self._config.pluginmanager.has_plugin("terminalreporter"):
            return
        if self._display is None:
            from pytest_pgtemplate._run.display import Display

            self._display = Display(self._directory(), self._config)
            self._config.pluginmanager.register(self._display, "pgtemplate-display")
        self._display.start()
