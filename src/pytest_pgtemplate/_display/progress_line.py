"""Shows what workers wait for: one line that is rewritten in a terminal, a few lines in a log.

Each worker writes its step to a file in the run's directory; this thread reads the files. Without
xdist the one process does both.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol, TextIO

from pytest_pgtemplate._display.progress_file import WAITING, Step, read_progress

POLL_INTERVAL = 0.1  # seconds between two readings, and between two frames
SHOW_AFTER = 0.5  # seconds; a shorter step is not shown
LOG_INTERVAL = 5.0  # seconds before the first line in a log, and between two lines


class LineWriter(Protocol):
    """The part of pytest's ``TerminalWriter`` that says where in its line the terminal is."""

    @property
    def fullwidth(self) -> int: ...
    @property
    def width_of_current_line(self) -> int: ...
    def markup(self, text: str, **markup: bool) -> str: ...


class ProgressLine:
    """A thread that reads the steps of all workers and draws them while there are any.

    ``writer`` knows the line that pytest is writing, below which this one is drawn.
    ``open_output`` returns the stream to draw on, which is closed with the stack.
    """

    def __init__(
        self, directory: Path, writer: LineWriter, open_output: Callable[[ExitStack], TextIO]
    ) -> None:
        self._directory = directory
        self._writer = writer
        self._open_output = open_output
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._shown = False  # whether there is a line to be erased
        self._logged: tuple[float, int] | None = None  # when, and how far pytest's line was then

    def start(self) -> None:
        if self._thread is None:
            self._open = ExitStack()
            self._out = self._open_output(self._open)
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
            self.erase()
            self._open.close()

    def remove_worker(self, worker: str) -> None:
        """Remove the step of a worker that has ended; one that crashed could not do so itself."""
        with suppress(OSError):
            (self._directory / f"{worker}.step").unlink(missing_ok=True)

    def erase(self) -> None:
        if self._shown:
            with self._lock:
                self._write_below("")
                self._shown = False

    def _work(self) -> None:
        while not self._ended.wait(POLL_INTERVAL):
            steps = read_progress(self._directory)
            waited = time.time() - min((step.since for step in steps.values()), default=time.time())
            if not steps:
                self.erase()
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
        with suppress(OSError, ValueError):  # the reading end is closed
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


def duplicate_stream(stream: TextIO, stack: ExitStack) -> TextIO:
    """A second stream to where ``stream`` leads now, until ``stack`` ends; else ``stream``."""
    try:
        file = os.dup(stream.fileno())
    except (OSError, ValueError):
        return stream
    return stack.enter_context(os.fdopen(file, "w", encoding="utf-8", errors="replace"))


class _CommandWriter:
    """The ``LineWriter`` of a command, which writes nothing while the line is shown."""

    width_of_current_line = 0

    @property
    def fullwidth(self) -> int:
        return shutil.get_terminal_size().columns

    def markup(self, text: str, **_: bool) -> str:
        return text


def progress_line_on(stream: TextIO, directory: Path) -> ProgressLine:
    """A progress line for a command: nothing else writes to ``stream`` while it is shown."""
    return ProgressLine(directory, _CommandWriter(), lambda _: stream)
