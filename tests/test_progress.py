"""Whoever waits for a template sees what for: in a terminal, in a log, with workers and without."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from projects import ITEM, TESTS, Project

PATIENT = """
import pathlib, time

deadline = time.monotonic() + 60
while not pathlib.Path({go!r}).exists() and time.monotonic() < deadline:
    time.sleep(0.02)
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """Its second migration is under way until there is a file ``go``."""
    project.alembic()
    project.revision("one", ITEM)
    revision = project.revision("two", PATIENT.format(go=str(project.root / "go")))
    revision.write_text('"""add orders"""\n' + revision.read_text())
    project.write("test_it.py", TESTS)
    return project


@contextmanager
def started(shop: Project, *arguments: str, stdout: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(shop.command(*arguments), cwd=shop.root, stdout=stdout) as run:
        try:
            yield run
            assert run.wait(60) == 0
        finally:
            run.kill()


def read_until(read: Callable[[], bytes], pattern: str, text: str = "") -> str:
    while not re.search(pattern, text):
        data = read()
        assert data, f"it ended before it said {pattern}:\n{text}"
        text += data.decode()
    return text


def read_rest(read: Callable[[], bytes]) -> str:
    text = b""
    try:
        while data := read():
            text += data
    except OSError:  # how Linux says that nobody writes to a terminal any more
        pass
    return text.decode()


def test_a_log_of_a_run_with_workers_names_who_builds_and_how_many_wait(shop: Project) -> None:
    with started(shop, "-n3", stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        pipe = run.stdout
        text = read_until(
            lambda: os.read(pipe.fileno(), 4096),
            r"\npgtemplate: migrating 2/2  two add orders  \d+ s  \(gw[0-2], 2 wait\)\n",
        )
        (shop.root / "go").touch()
        text += pipe.read().decode()
    assert "4 passed" in text
    assert not set(text) & {"\x1b", "\r"}


def test_a_terminal_has_one_line_that_is_rewritten_and_taken_away(shop: Project) -> None:
    terminal, other_end = pty.openpty()
    with started(shop, stdout=other_end):
        os.close(other_end)
        pattern = r"\n\r.*pgtemplate: migrating 2/2  two add orders  \d+ s\x1b"
        text = read_until(lambda: os.read(terminal, 4096), pattern)
        (shop.root / "go").touch()
        text += read_rest(lambda: os.read(terminal, 4096))
    os.close(terminal)
    assert "4 passed" in text
    lines = [line for line in re.split(r"\n\r", text) if "pgtemplate: migrating" in line]
    assert all(re.search(r"\x1b\[K\x1b\[A\x1b\[\d+G", line) for line in lines)
    assert re.search(r"\r\n\r\x1b\[K\x1b\[A\x1b\[\d+G", text)
