"""A minute of chaos in the long form; ``tox run -e chaos`` has more of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.servers import need_binaries

TESTS = Path(__file__).parent


@pytest.mark.full
@pytest.mark.parametrize(
    ("modes", "kills"), [("AB", "12"), ("P", "4")], ids=["any moment", "the preparation"]
)
@pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc")
def test_a_kill_at_any_moment_leaves_nothing_and_breaks_no_other_run(
    modes: str, kills: str
) -> None:
    need_binaries()
    chaos = ["--modes", modes, "--kills", kills, "--seed", "7", "--seconds", "40"]
    command = [sys.executable, "-m", "support.chaos", *chaos]
    result = subprocess.run(command, cwd=TESTS, capture_output=True, timeout=400, check=False)
    assert result.returncode == 0, (result.stdout + result.stderr).decode()
