"""What a server does well, what is slow there and what to change, measured where that is short.

All of it takes two seconds on a server that is not very slow: what took long once is not repeated.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from statistics import median
from typing import NamedTuple

from pytest_pgtemplate._server import PER_WORKER, Mark, Server
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import spares
from pytest_pgtemplate.errors import PgTemplateError

GOOD, SLOW, NOTE = "good", "slow", "note"

SLOW_ROUND_TRIP = 0.002  # seconds of a round trip, from which each statement of a test is felt
SLOW_CLONE = 0.3  # seconds
SLOW_COMMIT = 0.001
LAST_CLONE = 0.7  # seconds of a clone, after which no other is tried


class Finding(NamedTuple):
    """One thing about a server. ``advice``: which setting would change it, or ""."""

    topic: str
    verdict: str
    what: str
    advice: str = ""


def examine(server: Server) -> Iterator[Finding]:
    """Raises ServerError."""
    facts = server.facts
    yield Finding("server", GOOD, f"{server}, database {facts.maintenance} for locks")
    yield _role(server)
    yield Finding(
        "connections",
        GOOD if facts.workers >= (os.cpu_count() or 1) else NOTE,
        f"{facts.max_connections}, enough for {facts.workers} workers of {PER_WORKER} each",
        "" if facts.workers >= (os.cpu_count() or 1) else "max_connections = 300",
    )
    yield _round_trip(server)
    yield from _clones(server)
    count = sum(map(spares.is_spare, server.databases()))
    what = f"{count} of at most {spares.MAX_SPARES}, {spares.MAX_PER_TEMPLATE} a template"
    yield Finding("spares", GOOD, what)


def _role(server: Server) -> Finding:
    facts = server.facts
    who = f"{facts.role}, superuser: {'yes' if facts.superuser else 'no'}"
    if facts.superuser:
        return Finding("role", GOOD, who)
    advice = f"a superuser's event triggers notice a changed schema: ALTER ROLE {facts.role}"
    return Finding("role", NOTE, f"{who}: each reset compares the catalogs", f"{advice} SUPERUSER")


def _round_trip(server: Server) -> Finding:
    seconds = median(server.round_trip() for _ in range(20))
    far = seconds > SLOW_ROUND_TRIP
    advice = "run the tests on the server's own host or network" if far else ""
    return Finding("round trip", SLOW if far else GOOD, _ms(seconds), advice)


def _clones(server: Server) -> Iterator[Finding]:
    """Clone an empty database by each strategy, and see how long a commit waits for the disk."""
    strategies = ("WAL_LOG", "FILE_COPY") if server.facts.major >= 15 else ("FILE_COPY",)
    chosen = server.strategy()
    name = database_names.scratch("pgtemplate", os.urandom(4).hex())
    server.lease(name)
    try:
        for strategy in strategies:
            began = time.perf_counter()
            server.clone("template0", name, Mark("scratch", ""), strategy)
            seconds = time.perf_counter() - began
            if strategy == strategies[0]:
                yield _disk(server, name)
            server.drop(name)
            yield _clone(strategy, seconds, used=strategy == chosen, fsync=server.facts.fsync)
            if seconds > LAST_CLONE:
                return
    finally:
        with suppress(PgTemplateError):
            server.drop(name)
            server.release(name)


def _clone(strategy: str, seconds: float, *, used: bool, fsync: bool) -> Finding:
    what = f"{_ms(seconds)} for an empty database{', as clones are made here' if used else ''}"
    slow = used and seconds > SLOW_CLONE
    memory = "its data directory in memory (tmpfs)"
    advice = f"fsync = off, on a server for tests only; or {memory}" if fsync else memory
    return Finding(f"clone {strategy}", SLOW if slow else GOOD, what, advice if slow else "")


def _disk(server: Server, name: str) -> Finding:
    def commit() -> float:
        began = time.perf_counter()
        server.record_use(name)
        return time.perf_counter() - began

    seconds = median(commit() for _ in range(5))
    if not server.facts.fsync:
        return Finding("disk", GOOD, f"fsync is off; a commit takes {_ms(seconds)}")
    slow = seconds > SLOW_COMMIT
    advice = "fsync = off, on a server for tests only" if slow else ""
    what = f"fsync is on; a commit takes {_ms(seconds)}"
    return Finding("disk", SLOW if slow else GOOD, what, advice)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms"
