"""Connect a command to its server: the server of a URL, or the embedded one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from pytest_pgtemplate import _archive, _embedded, _urls
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._urls import libpq_variables
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
    with ExitStack() as stack:
        if not url:
            stack.enter_context(libpq_variables.hide())
            with step("starting the embedded server"):
                handle = _embedded.acquire(*embedded, timeout=timeout)
            stack.callback(handle.close)
            url = handle.url
        server = Server(_urls.parse(url), timeout=timeout)
        stack.callback(server.close)
        yield server


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
