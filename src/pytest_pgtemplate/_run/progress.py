"""What this process tells of what takes long; ``display`` shows it.

Imported in every run of pytest, so it is light.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pytest

if TYPE_CHECKING:
    from pytest_pgtemplate._display.progress_file import Step
    from pytest_pgtemplate._run.display import ProgressLine
    from pytest_pgtemplate._run.timeline import Timeline

_log = logging.getLogger("pytest_pgtemplate")


class ProgressReporter:
    """What this process tells, in a file; where it may draw, what other workers tell, too.

    A plugin of pytest's, to be there when xdist has started a worker. ``draw`` makes what draws.
    """

    def __init__(
        self,
        directory: Callable[[], Path],
        worker: str,
        draw: Callable[[Path], ProgressLine | None],
    ) -> None:
        self.draw = draw
        self.timeline: Timeline | None = None  # where the run is recorded
        self._directory = directory  # asked for when it is needed
        self._worker = worker
        self._display: ProgressLine | None = None
        self._steps: list[Step] = []  # the innermost last
        self._began: tuple[str, float] | None = None  # the part of it that is told of

    @property
    def file(self) -> Path:
        return self._directory() / f"{self._worker}.step"

    def begin_part(self, doing: str) -> None:
        """Begin a part of what is done."""
        from pytest_pgtemplate._display import progress_file

        self._end_part()
        self._began = doing, time.time()
        progress_file.write_step(self.file, progress_file.Step(doing))

    @contextmanager
    def timed_step(self, kind: str, doing: str) -> Iterator[None]:
        """Around what may take long; ``kind`` is what a recording of the run calls it."""
        began = time.time()
        try:
            with self.step(doing):
                yield
        finally:
            seconds = time.time() - began
            _log.info("%s: %.3f s", doing, seconds)
            if self.timeline is not None:
                self.timeline.add(kind, doing, seconds)

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """The same for what is logged and recorded by others, if at all."""
        from pytest_pgtemplate._display import progress_file

        self._steps.append(progress_file.Step(doing))
        progress_file.write_step(self.file, self._steps[-1])
        self._show()
        try:
            yield
        finally:
            self._end_part()
            self._steps.pop()
            if self._steps:
                progress_file.write_step(self.file, self._steps[-1])
            else:
                self._end()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self) -> None:
        """xdist: a worker is there, and may have to wait or to build."""
        self._show()

    def _end_part(self) -> None:
        if self._began is not None and self.timeline is not None:
            doing, began = self._began
            self.timeline.add("build", doing, time.time() - began)
        self._began = None

    def _show(self) -> None:
        if self._display is None:
            self._display = self.draw(self._directory())
        if self._display is not None:
            self._display.start()

    def _end(self) -> None:
        with suppress(OSError):
            self.file.unlink(missing_ok=True)
        if self._display is not None:
            self._display.stop()


def draw_in_pytest(config: pytest.Config, directory: Path) -> ProgressLine | None:
    """Below what pytest writes, in the process that has its terminal."""
    if hasattr(config, "workerinput") or not config.pluginmanager.has_plugin("terminalreporter"):
        return None
    from pytest_pgtemplate._run import display

    return display.in_pytest(config, directory)


def duplicate(stream: TextIO, stack: ExitStack) -> TextIO:
    """Another way to where ``stream`` leads now, until ``stack`` ends; or itself."""
    try:
        file = os.dup(stream.fileno())
    except (OSError, ValueError):
        return stream
    return stack.enter_context(os.fdopen(file, "w", encoding="utf-8", errors="replace"))


def draw_on(stream: TextIO, directory: Path) -> ProgressLine:
    """On a stream that nobody else writes to meanwhile: of a command."""
    from _pytest._io import TerminalWriter

    from pytest_pgtemplate._run import display

    return display.ProgressLine(directory, TerminalWriter(stream), lambda _: stream)
