"""The directory of a run, in which its processes meet while it lasts."""

from __future__ import annotations

import shutil
from pathlib import Path

from pytest_pgtemplate._settings import RunIdentity


class RunDirectory:
    """Call it to have it; to find it takes ms, and most runs have no need of it.

    ``shared``: there are other processes, which may have asked.
    """

    def __init__(self, identity: RunIdentity, *, shared: bool) -> None:
        self._identity = identity
        self._asked = shared

    def __call__(self) -> Path:
        self._asked = True
        return self._identity.directory

    def remove(self) -> None:
        if self._asked:
            shutil.rmtree(self(), ignore_errors=True)
