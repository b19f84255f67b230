"""The server that a command is about, for as long as it takes: a URL's, or the embedded one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from pytest_pgtemplate import _archive, _embedded, _urls
from pytest_pgtemplate._server import Server
from pytest_pgtemplate.errors import ConfigurationError

ShowStep = Callable[[str], AbstractContextManager[object]]
EmbeddedOptions = tuple[Path | None, int | None, bool]  # embedded server: bindir, version, listens


@contextmanager
def server(
    url: str | None, embedded: EmbeddedOptions, timeout: float, step: ShowStep = nullcontext
) -> Iterator[Server]:
    """Raises ConfigurationError when there is more than one URL."""
    if len((url or "").split()) > 1:
        raise ConfigurationError("there is more than one URL", hint="name one of them in --url")
    handle = None
    if not url:
        with step("starting the embedded server"):
            handle = _embedded.acquire(*embedded, timeout=timeout)
    found = Server(_urls.parse(handle.url if handle else url or ""), timeout=timeout)
    try:
        yield found
    finally:
        found.close()
        if handle:
            handle.close()


@contextmanager
def client(
    url: str | None, embedded: EmbeddedOptions, timeout: float, step: ShowStep
) -> Iterator[_archive.Client]:
    """The same, with its programs."""
    with server(url, embedded, timeout, step) as found:
        yield _archive.Client(found, beside(url, embedded))


def beside(url: str | None, embedded: EmbeddedOptions) -> Path | None:
    """Where the programs of the server are, if that is known."""
    bindir, version, _ = embedded
    return bindir if url else _embedded.find_binaries(bindir, version).bindir
