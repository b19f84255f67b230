"""The template: its fingerprint, and how it comes to be exactly once.

A template under its final name is whole by construction: it is built under a scratch name, and the
rename is the last act. So whoever finds the final name clones it, and takes no lock.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_pgtemplate import _names
from pytest_pgtemplate._server import Mark, Server
from pytest_pgtemplate.errors import PgTemplateError, PgTemplateWarning, TemplateError


@dataclass(frozen=True)
class Template:
    """A migrated, sealed database. ``built`` is False when it was already there."""

    name: str
    fingerprint: str
    built: bool


def fingerprint(parts: Iterable[bytes], server: Server) -> str:
    """Hash everything that decides what the template holds.

    Each part is preceded by its length, so that moving a byte from one part to the next shows.
    """
    digest = hashlib.sha256()
    facts = server.facts
    for fact in (facts.major, facts.locale, facts.role, facts.superuser):
        _add(digest, str(fact).encode())
    for part in parts:
        _add(digest, part)
    return digest.hexdigest()


@dataclass(frozen=True)
class Order:
    """Which template is wanted, and by which run. ``rebuild``: one that this run has built."""

    prefix: str
    run: str
    fingerprint: str
    rebuild: bool

    @property
    def name(self) -> str:
        return _names.template(self.prefix, self.fingerprint)


Build = Callable[[str], None]


def ensure(order: Order, build: Build, server: Server, lock_directory: Path) -> Template:
    """Return the template, building it if nobody has: once, however many ask at the same moment.

    ``build`` gets the name of an empty scratch database and migrates it.
    Raises TemplateError when another process holds the lock for longer than twice
    ``server.timeout`` seconds, and whatever ``build`` raises.
    """
    built = False
    if not _is_there(order, server):
        # A builder may take ``timeout`` for the migrations alone: wait for its end, or its error.
        with _file_lock(lock_directory / f"{order.name}.lock", 2 * server.timeout):
            # Asked before the other lock is: those of this machine pass here one by one.
            if not _is_there(order, server):
                with server.locked(order.name):
                    built = not _is_there(order, server)
                    if built:
                        _build(order, build, server)
    return Template(order.name, order.fingerprint, built)


def _is_there(order: Order, server: Server) -> bool:
    found = server.find(order.name)
    if found is None or found.mark is None or not found.sealed or found.invalid:
        return False
    return not order.rebuild or found.mark.run == order.run


def _build(order: Order, build: Build, server: Server) -> None:
    scratch = _names.scratch(order.prefix, order.run)
    server.lease(scratch)
    try:
        server.drop(scratch)  # of a worker of this run that was killed while it built
        server.create(scratch, Mark("scratch", order.run, order.fingerprint))
        build(scratch)
        server.publish(scratch, order.name, Mark("template", order.run, order.fingerprint))
    except BaseException:
        with suppress(PgTemplateError):  # a sweep will do it: what went wrong first tells more
            _clear(scratch, server)
        raise
    _clear(scratch, server)


def _clear(scratch: str, server: Server) -> None:
    """Drop what is half-built, or the older build that pytest --pg-rebuild has replaced."""
    server.release(scratch)
    server.drop(scratch)


@contextmanager
def _file_lock(path: Path, timeout: float) -> Iterator[None]:
    """Queue the processes of this machine here, so that they hold no connection while they wait."""
    lock = FileLock(path, timeout=timeout)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(poll_interval=0.01)  # it may be passed on to many, one after another
    except Timeout:
        raise TemplateError(
            f"waited {timeout:g} s for another process to build template {path.stem}",
            hint="raise pg_timeout, or look for a run that hangs",
        ) from None
    except (OSError, NotImplementedError) as error:  # read-only, or a file system without locks
        warnings.warn(
            PgTemplateWarning(f"no file lock at {path} ({error}): the server's lock has to do"),
            stacklevel=1,
        )
    try:
        yield
    finally:
        lock.release()


def _add(digest: hashlib._Hash, part: bytes) -> None:
    digest.update(len(part).to_bytes(8, "big"))
    digest.update(part)
