"""Report the slow steps of this process; ``_display.progress_line`` shows them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from pytest_pgtemplate._internals import clocks
from pytest_pgtemplate._internals.pytest import capture_disabled

if TYPE_CHECKING:
    from pytest_pgtemplate._display.progress_file import Step
    from pytest_pgtemplate._display.progress_line import ProgressLine
    from pytest_pgtemplate._run.timeline import Timeline

_log = logging.getLogger("pytest_pgtemplate")


class ProgressReporter:
    """Writes the current step to a file, and starts the progress line in the terminal's process.

    ``draw`` creates the progress line.
    """

    def __init__(
        self,
        directory: Callable[[], Path],
        worker: str,
        draw: Callable[[Path], ProgressLine | None],
    ) -> None:
        self.draw = draw
        self.timeline: Timeline | None = None  # None: the run is not recorded
        self._directory = directory  # called on first use
        self._worker = worker
        self._display: ProgressLine | None = None
        self._in_background = False
        self._steps: list[Step] = []  # the innermost last
        self._part: tuple[str, float] | None = None  # the current part of the innermost step

    @property
    def file(self) -> Path:
        return self._directory() / f"{self._worker}.step"

    def begin_part(self, doing: str) -> None:
        """Begin a part of the current step."""
        from pytest_pgtemplate._display import progress_file

        self._end_part()
        self._part = doing, clocks.monotonic()
        progress_file.write_step(self.file, progress_file.Step(doing))

    @contextmanager
    def timed_step(self, kind: str, doing: str) -> Iterator[None]:
        """Report, log and record a step. ``kind``: the kind of its event in the timeline."""
        began = clocks.monotonic()
        try:
            with self.step(doing):
                yield
        finally:
            seconds = clocks.monotonic() - began
            _log.info("%s: %.3f s", doing, seconds)
            if self.timeline is not None:
                self.timeline.add(kind, doing, seconds)

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Report a step."""
        from pytest_pgtemplate._display import progress_file

        self._steps.append(progress_file.Step(doing))
        progress_file.write_step(self.file, self._steps[-1])
        self.show()
        try:
            yield
        finally:
            self._end_part()
            self._steps.pop()
            if self._steps:
                progress_file.write_step(self.file, self._steps[-1])
            else:
                self._end()

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Draw no line for the steps of the body, which runs in a thread while pytest writes."""
        self._in_background = True
        try:
            yield
        finally:
            self._in_background = False

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the line while the body waits for such a thread."""
        self._start_display()
        try:
            yield
        finally:
            self._stop_display()

    def show(self) -> None:
        """Draw the line: a step begins, or a worker has started that may build or wait."""
        if not self._in_background:
            self._start_display()

    def _end_part(self) -> None:
        if self._part is not None and self.timeline is not None:
            doing, began = self._part
            self.timeline.add("build", doing, clocks.monotonic() - began)
        self._part = None

    def _end(self) -> None:
        with suppress(OSError):
            self.file.unlink(missing_ok=True)
        if not self._in_background:
            self._stop_display()

    def _start_display(self) -> None:
        if self._display is None:
            self._display = self.draw(self._directory())
        if self._display is not None:
            self._display.start()

    def _stop_display(self) -> None:
        if self._display is not None:
            self._display.stop()


class ProgressLinePlugin:
    """Erases the progress line before pytest writes, and ends it with the session."""

    def __init__(self, line: ProgressLine) -> None:
        self._line = line

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hook of xdist: a worker has ended."""
        self._line.remove_worker(node.gateway.id)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_testnodeready(self) -> None:
        """Hook of xdist, as the next: it writes a line about its workers."""
        self._line.erase()

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        self._line.erase()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        self._line.erase()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self) -> None:
        self._line.erase()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self._line.stop()


def draw_in_pytest(config: pytest.Config, directory: Path) -> ProgressLine | None:
    """Return a progress line, or None outside of the terminal's process.

    It writes to a duplicate of stdout, because pytest may capture output at that time.
    """
    if hasattr(config, "workerinput") or not config.pluginmanager.has_plugin("terminalreporter"):
        return None
    from pytest_pgtemplate._display.progress_line import ProgressLine, duplicate_stream

    def open_output(stack: ExitStack) -> TextIO:
        with capture_disabled(config):
            return duplicate_stream(sys.stdout, stack)

    line = ProgressLine(directory, config.get_terminal_writer(), open_output)
    config.pluginmanager.register(ProgressLinePlugin(line), "pgtemplate-progress-line")
    return line
