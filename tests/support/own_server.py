"""The embedded server of this run, for child runs: its data is in the user's cache.

Nothing here is a test.
"""

from __future__ import annotations

import os

import pytest

# Imported by test modules, so before pytester sets others.
OWN = {name: os.environ.get(name) for name in ("HOME", "XDG_CACHE_HOME", "PGTEMPLATE_URL")}


def use_own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let child runs of this test use the embedded server of this run. Skips if it has none."""
    if OWN["PGTEMPLATE_URL"] is not None:
        pytest.skip("this run has no embedded server")
    for name, value in OWN.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
