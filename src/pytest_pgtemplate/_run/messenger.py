"""What the controller of an xdist run tells its workers, on whatever host they are.

It has to be there before a worker reads its command line, for then it imports conftests: too early
for ``workerinput``. Environment variables are, but only those that are set in the worker itself.
"""

from __future__ import annotations

from typing import Any

import pytest

from pytest_pgtemplate import _settings
from pytest_pgtemplate._settings import Settings

_TAKE = "import os; os.environ.update(channel.receive())"


class Messenger:
    """A plugin of the controller, for a hook of xdist that knows no config."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @pytest.hookimpl
    def pytest_xdist_newgateway(self, gateway: Any) -> None:
        """Python runs there, pytest not yet; replacements for crashed workers come here, too."""
        channel = gateway.remote_exec(_TAKE)
        told = _settings.for_worker(self._settings, gateway.id)
        channel.send({_settings.ENV_TOLD: told})
        channel.waitclose()
