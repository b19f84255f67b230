"""Spares made ahead, in the background: one at a time, on a connection of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from contextlib import suppress

from sqlalchemy.engine import URL

from pytest_pgtemplate._server import Server
from pytest_pgtemplate._worker import spares
from pytest_pgtemplate.errors import PgTemplateError

CLOSE_TIMEOUT = 5.0  # seconds at the end of a run for the clone that is being made


class SparePool:
    """Sees to it that there are spares of one template. What fails there costs a clone, no more."""

    def __init__(self, url: URL, template: str, run: str, *, timeout: float) -> None:
        self._url = url
        self._template = template
        self._run = run
        self._timeout = timeout
        self._closed = threading.Event()
        self._making: threading.Thread | None = None

    def refill(self) -> None:
        """Have a spare at hand for whoever clones afresh next."""
        self._start(lambda server: not spares.list_spares(self._template, server.databases()))

    def fill_for(self, names: Collection[str]) -> None:
        """Have one for each of these workers, until it claims its name; on idle cores only."""

        def is_missing(server: Server) -> bool:
            there = spares.list_spares(self._template, server.databases())
            return _cores_are_idle() and len(server.unleased(names)) > len(there)

        self._start(is_missing)

    def wait(self) -> None:
        """Wait for the clone that is being made: it is ready before another one would be."""
        if self._making is not None:
            self._making.join(self._timeout)

    def close(self) -> None:
        """Make no more."""
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
    except (AttributeError, OSError):  # Windows does not know
        return False
