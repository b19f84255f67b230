"""Connect a command to its server: the server of a URL, or the embedded one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from pytest_pgtemplate import _archive, _embedded, _urls
from pytest_pgtemplate._server import Server
from pytest_pgtemplate.errors import ConfigurationError

ShowStep = Callable[[str], AbstractContextManager[object]]
EmbeddedOptions = tuple[Path | None, int | None, bool]  # bindir, major version, listen


@contextmanager
def server(
    url: str | None, embedded: EmbeddedOptions, timeout: float, step: ShowStep = nullcontext
) -> Iterator[Server]:
    """Yield the server. Raises ConfigurationError if there is more than one URL."""
    if len((url or "").split()) > 1:
        raise ConfigurationError("there is more than one URL", hint="pass one of them with --url")
    handle = None
    if not url:
        with step("starting the embedded server"):
            handle = _embedded.acquire(*embedded, timeout=timeout)
    server = Server(_urls.parse(handle.url if handle else url or ""), timeout=timeout)
    try:
        yield server
    finally:
        server.close()
        if handle:
            handle.close()


@contextmanager
def client(
    url: str | None, embedded: EmbeddedOptions, timeout: float, step: ShowStep
) -> Iterator[_archive.Client]:
    """Yield a client for the server."""
    with server(url, embedded, timeout, step) as connected:
        yield _archive.Client(connected, client_bindir(url, embedded))


def client_bindir(url: str | None, embedded: EmbeddedOptions) -> Path | None:
    """Return the directory of the server's client programs, if it is known."""
    bindir, version, _ = embedded
    return bindir if url else _embedded.find_binaries(bindir, version).bindir
