"""A minute of chaos; ``tox -e chaos`` has more of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from servers import need_binaries

CHAOS = Path(__file__).with_name("chaos.py")


@pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc")
def test_what_is_killed_at_any_moment_leaves_nothing_and_breaks_nobody() -> None:
    need_binaries()
    command = [sys.executable, str(CHAOS), "--kills", "12", "--seed", "7", "--seconds", "40"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
