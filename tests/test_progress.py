"""The progress of builds and checks: in a terminal, in a log, with and without workers."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._server import Mark, Server
from support.clients import Clients
from support.programs import load_program
from support.projects import ITEM, TESTS, Project

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
    project.revision("one", ITEM, undo='op.drop_table("item")')
    revision = project.revision("two", PATIENT.format(go=go_of(project)), undo="pass")
    revision.write_text('"""add orders"""\n' + revision.read_text())
    project.write("test_it.py", TESTS)
    return project


def go_of(shop: Project) -> str:
    return str(shop.root / "go")


def go(shop: Project) -> None:
    Path(go_of(shop)).touch()


def pgtemplate(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "pytest_pgtemplate._cli.main", *map(str, arguments)]


@contextmanager
def started(
    shop: Project, command: list[str], *, stdout: int, stderr: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, cwd=shop.root, stdout=stdout, stderr=stderr) as run:
        try:
            yield run
            assert run.wait(60) == 0
        finally:
            run.kill()


def on_terminal(
    shop: Project, command: list[str], pattern: str, end: Callable[[], object], stream: str
) -> tuple[str, str]:
    """What is shown in a terminal: ``end`` is called when that is ``pattern``; and the stdout."""
    terminal, other_end = pty.openpty()
    streams = {"stdout": subprocess.PIPE, stream: other_end}
    with started(shop, command, stdout=streams["stdout"], stderr=streams.get("stderr")) as run:
        os.close(other_end)
        shown = read_until(lambda: os.read(terminal, 4096), pattern)
        end()
        output = run.stdout.read().decode() if run.stdout else ""
        shown += read_rest(lambda: os.read(terminal, 4096))
    os.close(terminal)
    return shown, output


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
    except OSError:  # on Linux, when no process has the terminal open for writing
        pass
    return text.decode()


@pytest.mark.full
def test_a_log_of_a_run_with_workers_names_who_builds_and_how_many_wait(shop: Project) -> None:
    with started(shop, shop.command("-n3"), stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        pipe = run.stdout
        text = read_until(
            lambda: os.read(pipe.fileno(), 4096),
            r"\npgtemplate: migrating 2/2  two add orders  \d+ s  \(gw[0-2], 2 wait\)\n",
        )
        go(shop)
        text += pipe.read().decode()
    assert "4 passed" in text
    assert not set(text) & {"\x1b", "\r"}


def test_a_terminal_has_one_line_that_is_rewritten_and_taken_away(shop: Project) -> None:
    pattern = r"\n\r.*pgtemplate: migrating 2/2  two add orders  \d+ s\x1b"
    text, _ = on_terminal(shop, shop.command(), pattern, partial(go, shop), "stdout")
    assert "4 passed" in text
    lines = [line for line in re.split(r"\n\r", text) if "pgtemplate: migrating" in line]
    assert all(re.search(r"\x1b\[K\x1b\[A\x1b\[\d+G", line) for line in lines)
    assert re.search(r"\r\n\r\x1b\[K\x1b\[A\x1b\[\d+G", text)


def test_a_check_of_the_migrations_shows_its_revision(shop: Project) -> None:
    shop.revision("two", undo=PATIENT.format(go=go_of(shop)), down="one")
    pattern = r"pgtemplate: checking 2/2  two  \d+ s\x1b"
    command = shop.command("--pg-check-only")
    text, _ = on_terminal(shop, command, pattern, partial(go, shop), "stdout")
    assert "4 passed, 1 skipped" in text


def test_only_slow_fixtures_with_shared_data_are_shown(shop: Project) -> None:
    go(shop)
    shop.write(
        "test_it.py",
        load_program("progress/only_slow_fixtures_with_shared_data_are_shown.py"),
    )
    terminal, other_end = pty.openpty()
    with started(shop, shop.command(), stdout=other_end):
        os.close(other_end)
        while not (shop.root / "redis waits").exists():
            time.sleep(0.02)
        (shop.root / "go redis").touch()
        pattern = r'pgtemplate: setting up the class fixture "orders"  \d+ s\x1b'
        text = read_until(lambda: os.read(terminal, 4096), pattern)
        (shop.root / "go orders").touch()
        text += read_rest(lambda: os.read(terminal, 4096))
    os.close(terminal)
    assert "1 passed" in text
    assert "redis" not in text


def test_the_command_shows_on_stderr_how_far_it_is(shop: Project, clients: Clients) -> None:
    file = shop.root / "templates"
    build = pgtemplate("build")
    pattern = r"pgtemplate: migrating 2/2  two add orders  \d+ s\x1b"
    shown, output = on_terminal(shop, build, pattern, partial(go, shop), "stderr")
    (template,) = shop.databases()
    assert output.startswith(f"{template}: migrated 2 of 2 revisions in ")
    assert shown.endswith("\n\r\x1b[K\x1b[A\x1b[1G")

    for command, doing in (("save", "saving"), ("load", "loading")):
        clients.handle.touch()
        arguments = pgtemplate("--bindir", clients.bindir, command, file)
        pattern = rf"pgtemplate: {doing} 1/1  {template}  \d+ s\x1b"
        _, output = on_terminal(shop, arguments, pattern, clients.handle.unlink, "stderr")
        assert template in output
        shop.server.drop(template)

    assert not list((shop.root / ".cache/pytest-pgtemplate/runs").glob("*"))


def test_prune_shows_on_stderr_what_it_is_at(shop: Project, private_url: URL) -> None:
    url = _urls.render(private_url)
    server = Server(private_url, timeout=60)
    name = f"{shop.prefix}_0000000a_main"
    server.create(name, Mark("worker", "0000000a"))
    command = pgtemplate("--url", url, "prune")
    shown, output = on_terminal(shop, command, r"pgtemplate: .*  \d+ s\x1b", bool, "stderr")
    server.close()
    assert f"dropped {name}" in output
    assert shown.endswith("\n\r\x1b[K\x1b[A\x1b[1G")
