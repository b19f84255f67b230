"""Clone spares in the background, one at a time, over a connection of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from contextlib import suppress

from sqlalchemy.engine import URL

from pytest_pgtemplate._server import Server
from pytest_pgtemplate._worker import spares
from pytest_pgtemplate.errors import PgTemplateError

CLOSE_TIMEOUT = 5.0  # seconds to wait at the end of a run for a clone in progress


class SparePool:
    """Keeps spares of one template available. Errors are ignored: a worker then clones itself."""

    def __init__(self, url: URL, template: str, run: str, *, timeout: float) -> None:
        self._url = url
        self._template = template
        self._run = run
        self._timeout = timeout
        self._closed = threading.Event()
        self._making: threading.Thread | None = None

    def refill(self) -> None:
        """Clone a spare in the background, for the next re-clone."""
        self._start(lambda server: not spares.list_spares(self._template, server.databases()))

    def fill_for(self, names: Collection[str]) -> None:
        """Clone a spare for each worker that has not leased its name yet, while cores are idle."""

        def is_missing(server: Server) -> bool:
            available = spares.list_spares(self._template, server.databases())
            return _cores_are_idle() and len(server.names_without_lease(names)) > len(available)

        self._start(is_missing)

    def wait(self) -> None:
        """Wait for the clone in progress, which is ready sooner than a new one."""
        if self._making is not None:
            self._making.join(self._timeout)

    def close(self) -> None:
        """Stop cloning."""
        self._closed.set()
        if self._making is not None:
            self._making.join(CLOSE_TIMEOUT)

    def _start(self, is_missing: Callable[[Server], bool]) -> None:
        self.wait()
        self._making = threading.Thread(
            target=self._make, args=[is_missing], name="pgtemplate-spares", daemon=True
        )
        self._making.start()

    def _make(self, is_missing: Callable[[Server], bool]) -> None:
        with suppress(PgTemplateError):
            server = Server(self._url, timeout=self._timeout)
            try:
                while not self._closed.is_set() and is_missing(server):
                    spares.add_spare(server, self._template, self._run)
            finally:
                server.close()


def _cores_are_idle() -> bool:
    try:
        return os.getloadavg()[0] < (os.cpu_count() or 1)
    except (AttributeError, OSError):  # not available on Windows
        return False
