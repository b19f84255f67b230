"""Show the progress of slow steps: one line that is rewritten in a terminal, some lines in a log.

Each worker writes its step to a file in the run's directory, and a thread reads the files. Without
xdist, one process does both.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol, TextIO

from pytest_pgtemplate._display.progress_file import WAITING, Step, read_progress
from pytest_pgtemplate._internals import clocks

POLL_INTERVAL = 0.1  # seconds between reads of the files, and between updates of the line
SHOW_AFTER = 0.5  # seconds; shorter steps are not shown
LOG_INTERVAL = 5.0  # seconds before the first line in a log, and between lines


class LineWriter(Protocol):
    """The part of pytest's ``TerminalWriter`` that the progress line uses."""

    @property
    def fullwidth(self) -> int: ...
    @property
    def width_of_current_line(self) -> int: ...
    def markup(self, text: str, **markup: bool) -> str: ...


class ProgressLine:
    """A thread that shows the steps of all workers.

    ``writer``: pytest's writer; the progress line is drawn below its current line.
    ``open_output``: returns the stream for the progress line, and registers its close.
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
        self._shown = False  # whether there is a line to erase
        self._logged: tuple[float, int] | None = None  # time, and width of pytest's line, of a log

    def start(self) -> None:
        if self._thread is None:
            self._open = ExitStack()
            self._out = self._open_output(self._open)
            is_terminal = getattr(self._out, "isatty", lambda: False)
            self._live = is_terminal() and os.environ.get("TERM") != "dumb"
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
        """Remove the step file of an ended worker: a crashed one could not remove it itself."""
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
            now = clocks.monotonic()
            waited = now - min((step.since for step in steps.values()), default=now)
            if not steps:
                self.erase()
            elif self._live and (waited > SHOW_AFTER or self._shown):
                with self._lock:
                    self._shown = True
                    self._write_below(progress_text(steps, self._writer.fullwidth - 1))
            elif not self._live and waited > LOG_INTERVAL:
                self._log(progress_text(steps, 0))

    def _write_below(self, text: str) -> None:
        """Write into the line below pytest's current line, and move the cursor back."""
        column = max(0, self._writer.width_of_current_line) + 1
        text = self._writer.markup(text, cyan=True) if text else ""
        self._write(f"\n\r{text}\x1b[K\x1b[A\x1b[{column}G")

    def _log(self, text: str) -> None:
        now, width = clocks.monotonic(), self._writer.width_of_current_line
        if self._logged is None or now - self._logged[0] >= LOG_INTERVAL:
            # Start a new line if pytest has written to its line since the last log.
            line_break = width > 0 and (self._logged is None or self._logged[1] != width)
            self._logged = (now, width)
            self._write(f"{chr(10) * line_break}{text}\n")

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # the reading end is closed
            self._out.write(text)
            self._out.flush()


def progress_text(steps: dict[str, Step], width: int) -> str:
    """Return the oldest step, its duration, and the number of waiting workers; 0: any width."""
    working = {worker: step for worker, step in steps.items() if step.doing not in WAITING}
    worker, step = min((working or steps).items(), key=lambda entry: entry[1].since)
    text, notes = str(step), [worker] if working and worker != "main" else []
    if waiting := len(steps) - len(working):
        notes.append(f"{waiting} wait{'s' * (waiting == 1)}")
    end = f"  {clocks.monotonic() - step.since:.0f} s"
    if notes and steps.keys() != {"main"}:
        end += f"  ({', '.join(notes)})"
    text = f"pgtemplate: {text}"
    if width and len(text) + len(end) > width:
        text = text[: max(0, width - len(end) - 2)] + ".."
    return text + end


def duplicate_stream(stream: TextIO, stack: ExitStack) -> TextIO:
    """Return a duplicate of ``stream``, which ``stack`` closes, or ``stream`` if it has no fd."""
    try:
        file = os.dup(stream.fileno())
    except (OSError, ValueError, AttributeError):  # pytest -f: the stream of execnet has none
        return stream
    return stack.enter_context(os.fdopen(file, "w", encoding="utf-8", errors="replace"))


class _CommandWriter:
    """The ``LineWriter`` of a command, which writes nothing while the line is visible."""

    width_of_current_line = 0

    @property
    def fullwidth(self) -> int:
        return shutil.get_terminal_size().columns

    def markup(self, text: str, **_: bool) -> str:
        return text


def progress_line_on(stream: TextIO, directory: Path) -> ProgressLine:
    """Return a progress line for a command, which writes nothing else to ``stream``."""
    return ProgressLine(directory, _CommandWriter(), lambda _: stream)
