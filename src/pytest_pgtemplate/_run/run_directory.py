"""The directory that the processes of a run share."""

from __future__ import annotations

import shutil
from pathlib import Path

from pytest_pgtemplate._settings import RunIdentity


class RunDirectory:
    """Call it to get the path. It is computed on first use, because that takes some ms.

    ``shared``: other processes may have created the directory.
    """

    def __init__(self, identity: RunIdentity, *, shared: bool) -> None:
        self._identity = identity
        self._may_exist = shared

    def __call__(self) -> Path:
        self._may_exist = True
        return self._identity.directory

    def remove(self) -> None:
        if self._may_exist:
            shutil.rmtree(self(), ignore_errors=True)
