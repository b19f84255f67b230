"""Shows what workers wait for: a line rewritten in a terminal, a line now and then in a log.

Workers tell in files of the run's directory. Without xdist the one process does the same.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from pytest_pgtemplate._display import progress_file
from pytest_pgtemplate._display.progress_file import WAITING, Step
from pytest_pgtemplate._run.progress import duplicate

if TYPE_CHECKING:
    from _pytest._io import TerminalWriter

POLL_INTERVAL = 0.1  # seconds between two looks, and two frames
SHOW_AFTER = 0.5  # seconds that nobody has to be told about
LOG_INTERVAL = 5.0  # seconds before the first line in a log, and between two


class ProgressLine:
    """A thread that reads what is told and draws it, while somebody may tell something.

    A plugin of pytest's, for it has to make way when pytest writes. ``writer`` tells where in a
    line that is; ``open_output`` gives what to draw on, until the stack ends.
    """

    def __init__(
        self, directory: Path, writer: TerminalWriter, open_output: Callable[[ExitStack], TextIO]
    ) -> None:
        self._directory = directory
        self._writer = writer
        self._opened = open_output
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._shown = False  # whether there is a line to be erased
        self._logged: tuple[float, int] | None = None  # when, and how far pytest's line was then

    def start(self) -> None:
        if self._thread is None:
            self._open = ExitStack()
            self._out = self._opened(self._open)
            self._live = self._out.isatty() and os.environ.get("TERM") != "dumb"
            self._ended.clear()
            self._thread = threading.Thread(
                target=self._work, name="pgtemplate-progress", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None
            self._erase()
            self._open.close()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """xdist: a worker has ended. One that crashed leaves what it told last."""
        with suppress(OSError):
            (self._directory / f"{node.gateway.id}.step").unlink(missing_ok=True)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        self._erase()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self) -> None:
        self._erase()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self.stop()

    def _erase(self) -> None:
        if self._shown:
            with self._lock:
                self._write_below("")
                self._shown = False

    def _work(self) -> None:
        while not self._ended.wait(POLL_INTERVAL):
            steps = progress_file.read_progress(self._directory)
            waited = time.time() - min((step.since for step in steps.values()), default=time.time())
            if not steps:
                self._erase()
            elif self._live and (waited > SHOW_AFTER or self._shown):
                with self._lock:
                    self._shown = True
                    self._write_below(progress_text(steps, self._writer.fullwidth - 1))
            elif not self._live and waited > LOG_INTERVAL:
                self._log(progress_text(steps, 0))

    def _write_below(self, text: str) -> None:
        """In the line below the one that pytest is writing, and back to where pytest was."""
        column = max(0, self._writer.width_of_current_line) + 1
        text = self._writer.markup(text, cyan=True) if text else ""
        self._write(f"\n\r{text}\x1b[K\x1b[A\x1b[{column}G")

    def _log(self, text: str) -> None:
        now, width = time.monotonic(), self._writer.width_of_current_line
        if self._logged is None or now - self._logged[0] >= LOG_INTERVAL:
            begun = width > 0 and (self._logged is None or self._logged[1] != width)
            self._logged = (now, width)
            self._write(f"{chr(10) * begun}{text}\n")

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # whoever read it has gone
            self._out.write(text)
            self._out.flush()


def progress_text(steps: dict[str, Step], width: int) -> str:
    """What is done by whom, for how long, and how many wait; cut at ``width``, unless that is 0."""
    working = {worker: step for worker, step in steps.items() if step.doing not in WAITING}
    worker, step = min((working or steps).items(), key=lambda entry: entry[1].since)
    text, notes = str(step), [worker] if working and worker != "main" else []
    if waiting := len(steps) - len(working):
        notes.append(f"{waiting} wait{'s' * (waiting == 1)}")
    end = f"  {time.time() - step.since:.0f} s"
    if notes and steps.keys() != {"main"}:
        end += f"  ({', '.join(notes)})"
    text = f"pgtemplate: {text}"
    if width and len(text) + len(end) > width:
        text = text[: max(0, width - len(end) - 2)] + ".."
    return text + end


def in_pytest(config: pytest.Config, directory: Path) -> ProgressLine:
    """Where pytest writes to, also while it captures what tests write."""

    def open_output(stack: ExitStack) -> TextIO:
        capture = config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            return duplicate(sys.stdout, stack)

    display = ProgressLine(directory, config.get_terminal_writer(), open_output)
    config.pluginmanager.register(display, "pgtemplate-display")
    return display
