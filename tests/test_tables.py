"""Tables fit the terminal, and say all where there is none."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

ROWS = [
    ("database", "kind", "state"),
    ("shop_with_a_long_name_tpl_0123456789ab", "template", "last used 26 min ago, built from x"),
    ("shop_with_a_long_name_tpl_ba9876543210", "template", "in use"),
]
SCRIPT = (
    f"from pytest_pgtemplate._display.tables import table; print(*table({ROWS!r}), sep=chr(10))"
)


def test_columns_are_aligned_and_whole_where_it_is_no_terminal() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    lines = done.stdout.decode().splitlines()

    assert [line.split("  ")[0].rstrip() for line in lines] == [row[0] for row in ROWS]
    assert len({re.search(r"kind|template ", line).start() for line in lines}) == 1  # type: ignore[union-attr]
    assert lines[1].endswith("built from x")


def test_they_fit_a_terminal_and_names_still_differ() -> None:
    terminal, other_end = pty.openpty()
    command = [sys.executable, "-c", SCRIPT]
    subprocess.run(command, stdout=other_end, env={**os.environ, "COLUMNS": "50"}, check=True)
    os.close(other_end)
    lines = os.read(terminal, 4096).decode().splitlines()
    os.close(terminal)

    assert max(map(len, lines)) <= 50
    assert lines[1].startswith("shop_wi")
    assert "89ab" in lines[1]
    assert "3210" in lines[2]
